-- +goose Up

-- What the holder knows about the health of a session.
ALTER TABLE session_run
    ADD COLUMN heard_at      timestamptz,            -- WhatsApp's last sign of life when the row was last written
    ADD COLUMN reconnects    int[],                  -- lost connections per five minutes, newest first ...
    ADD COLUMN reconnects_at timestamptz,            -- ... and when the newest five minutes began
    ADD COLUMN faults        int NOT NULL DEFAULT 0, -- terms in a row that a bug ended
    ADD COLUMN fault_at      timestamptz;

-- What a heartbeat tells beside that the process lives; see package store.
ALTER TABLE connector
    ADD COLUMN held     int NOT NULL DEFAULT 0,
    ADD COLUMN heard_at timestamptz;

-- +goose Down
SELECT 1 / 0; -- migrations go forward only
