-- +goose Up

-- What the user wants beside running or not.
ALTER TABLE session
    ADD COLUMN unlink_generation bigint NOT NULL DEFAULT 0, -- the last request that wanted the device unlinked; 0: none did
    ADD COLUMN deleted_at timestamptz, -- a connector erases its device and then the row; its name is free again: 'deleted-' and the id
    ADD COLUMN secrets bytea;          -- the whole config, encrypted, where it has secrets; config lacks them then

-- The request at which the device was linked: one to unlink that came later is about this device.
ALTER TABLE session_run ADD COLUMN linked_generation bigint NOT NULL DEFAULT 0;

-- Who did what. Written with the deed, in its transaction; no references, because it outlives them.
CREATE TABLE audit (
    id         bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    at         timestamptz NOT NULL DEFAULT now(),
    tenant_id  uuid NOT NULL,
    key_id     text NOT NULL,             -- of the API key, or 'operator'
    action     text NOT NULL,             -- such as session.start
    subject    text NOT NULL,             -- the session's name, the key's id
    session_id uuid,                      -- names are used again
    request_id text NOT NULL DEFAULT ''
);
CREATE INDEX audit_tenant ON audit (tenant_id, id);
CREATE INDEX audit_at ON audit USING brin (at);

-- +goose Down
SELECT 1 / 0; -- migrations go forward only
