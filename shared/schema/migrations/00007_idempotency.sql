-- +goose Up

-- Answers to requests with an Idempotency-Key, for who asks again. A row without a status is a request that runs.
CREATE TABLE idempotency (
    tenant_id    uuid NOT NULL REFERENCES tenant ON DELETE CASCADE,
    key          text NOT NULL CHECK (length(key) BETWEEN 1 AND 255),
    fingerprint  bytea NOT NULL CHECK (length(fingerprint) = 32), -- SHA-256 of what was asked, and by which API key
    claim        uuid NOT NULL,                                   -- the run that may write the answer
    status       int,
    content_type text,
    body         bytea,                                           -- without credentials
    created_at   timestamptz NOT NULL DEFAULT now(),
    expires_at   timestamptz NOT NULL,                            -- from here on the row is as good as gone
    PRIMARY KEY (tenant_id, key),
    CHECK ((status IS NULL) = (content_type IS NULL) AND (status IS NULL) = (body IS NULL))
);
CREATE INDEX idempotency_expires ON idempotency (expires_at);

-- +goose Down
SELECT 1 / 0; -- migrations go forward only
