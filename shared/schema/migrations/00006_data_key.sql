-- +goose Up

-- The keyset that encrypts secrets, itself encrypted by a key of AWS KMS. Empty where a key file is used. Losing
-- the row loses every secret.
CREATE TABLE data_key (
    one        boolean PRIMARY KEY DEFAULT true CHECK (one),
    wrapped    bytea NOT NULL CHECK (length(wrapped) > 0),
    created_at timestamptz NOT NULL DEFAULT now(),
    rotated_at timestamptz
);

-- +goose Down
SELECT 1 / 0; -- migrations go forward only
