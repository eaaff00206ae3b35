-- +goose Up

-- The ECS task that a connector runs in, where there is one. A task may have several rows: a process that lost
-- its lease goes on under a new id. No index: the table has one row per process.
ALTER TABLE connector ADD COLUMN task text CHECK (task <> '');

-- +goose Down
SELECT 1 / 0; -- migrations go forward only
