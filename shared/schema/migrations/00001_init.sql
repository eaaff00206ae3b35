-- +goose Up
CREATE TABLE tenant (
    id         uuid PRIMARY KEY,
    name       text NOT NULL UNIQUE CHECK (length(name) BETWEEN 1 AND 100),
    created_at timestamptz NOT NULL DEFAULT now()
);

-- A key is looked up by its public id and compared by hash; the secret itself is never stored.
CREATE TABLE api_key (
    id         text PRIMARY KEY,
    tenant_id  uuid NOT NULL REFERENCES tenant ON DELETE CASCADE,
    name       text NOT NULL DEFAULT '',
    hash       bytea NOT NULL CHECK (length(hash) = 32),
    created_at timestamptz NOT NULL DEFAULT now(),
    revoked_at timestamptz
);

-- What the user wants. Written by the control plane only.
CREATE TABLE session (
    id         uuid PRIMARY KEY,
    tenant_id  uuid NOT NULL REFERENCES tenant ON DELETE CASCADE,
    name       text NOT NULL CHECK (name ~ '^[A-Za-z0-9_-]{1,54}$'),
    desired    text NOT NULL CHECK (desired IN ('running', 'stopped')),
    generation bigint NOT NULL DEFAULT 1 CHECK (generation > 0),
    -- json, not jsonb: what clients sent comes back as they sent it, numbers included.
    config     json NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    desired_at timestamptz NOT NULL DEFAULT now(),
    UNIQUE (tenant_id, name)
);
CREATE INDEX session_running ON session (id) WHERE desired = 'running';

-- What the holder reports. Created with the session, never deleted before it, so that epoch never goes back.
CREATE TABLE session_run (
    session_id      uuid PRIMARY KEY REFERENCES session ON DELETE CASCADE,
    holder          text,
    epoch           bigint NOT NULL DEFAULT 0,
    state           text NOT NULL DEFAULT 'STOPPED'
                    CHECK (state IN ('STOPPED', 'STARTING', 'SCAN_QR_CODE', 'WORKING', 'FAILED')),
    reason_code     text,
    reason_message  text,
    reason_at       timestamptz,
    retry_at        timestamptz,
    seen_generation bigint NOT NULL DEFAULT 0,
    jid             text,
    push_name       text,
    state_at        timestamptz NOT NULL DEFAULT now(),
    CHECK ((reason_code IS NULL) = (reason_at IS NULL))
) WITH (fillfactor = 70);
-- No two sessions can hold the same device.
CREATE UNIQUE INDEX session_run_jid ON session_run (jid) WHERE jid IS NOT NULL;
CREATE INDEX session_run_holder ON session_run (holder) WHERE holder IS NOT NULL;

-- "This session wants a connector." Carries only the id: the truth is in session.
CREATE TABLE start_job (
    session_id   uuid PRIMARY KEY REFERENCES session ON DELETE CASCADE,
    available_at timestamptz NOT NULL DEFAULT now(),
    attempts     int NOT NULL DEFAULT 0
);
CREATE INDEX start_job_available ON start_job (available_at);

-- Credentials for linking, present only while a phone may use them. The row lives as long as the session and
-- carries the epoch, so that a stale holder's write is refused on the row it writes.
CREATE TABLE pairing (
    session_id       uuid PRIMARY KEY REFERENCES session ON DELETE CASCADE,
    epoch            bigint NOT NULL DEFAULT 0,
    codes            text[],
    started_at       timestamptz,
    first_ms         bigint,
    next_ms          bigint,
    code_request     uuid,
    code             text,
    code_problem     text,
    code_valid_until timestamptz
) WITH (fillfactor = 50);

-- A user's wish for a pairing code. Written by the control plane, answered by the holder in pairing.
CREATE TABLE pairing_request (
    session_id uuid PRIMARY KEY REFERENCES session ON DELETE CASCADE,
    id         uuid NOT NULL UNIQUE,
    phone      text NOT NULL,
    expires_at timestamptz NOT NULL
);

-- One row per process run, written by that process. lease_until is its right to act.
CREATE TABLE connector (
    id          text PRIMARY KEY,
    address     text NOT NULL,
    slots       int NOT NULL CHECK (slots >= 0),
    draining    boolean NOT NULL DEFAULT false,
    version     text NOT NULL,
    started_at  timestamptz NOT NULL DEFAULT now(),
    lease_until timestamptz NOT NULL
) WITH (fillfactor = 50);

-- The WhatsApp client version that the whole fleet presents.
CREATE TABLE client_version (
    one          boolean PRIMARY KEY DEFAULT true CHECK (one),
    version      text NOT NULL,
    refreshed_at timestamptz NOT NULL DEFAULT now()
);

-- +goose Down
SELECT 1 / 0; -- migrations go forward only
