-- +goose Up

-- How many sessions a tenant may have. NULL: the deployment's default; 0: any number.
ALTER TABLE tenant ADD COLUMN session_quota int CHECK (session_quota >= 0);

-- What a key may do. The default keeps old rows working, and rows that old programs write.
ALTER TABLE api_key
    ADD COLUMN scope        text NOT NULL DEFAULT 'tenant' CHECK (scope IN ('admin', 'tenant', 'session', 'read')),
    ADD COLUMN session      text CHECK (session ~ '^[A-Za-z0-9_-]{1,54}$'), -- the only one that the key sees; it need not exist
    ADD COLUMN expires_at   timestamptz,
    ADD COLUMN last_used_at timestamptz,             -- to the minute
    ADD COLUMN created_by   text NOT NULL DEFAULT '', -- id of the API key, 'operator', or empty where nobody knows
    ADD CONSTRAINT api_key_session_fits_scope CHECK (CASE scope WHEN 'session' THEN session IS NOT NULL WHEN 'read' THEN true ELSE session IS NULL END);
CREATE INDEX api_key_tenant ON api_key (tenant_id, created_at, id);

-- +goose Down
SELECT 1 / 0; -- migrations go forward only
