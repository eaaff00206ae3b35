package store

import (
	"context"

	"github.com/wafleet/wafleet/shared/session"
)

// Key is an API key as the database knows it: by the hash of its secret.
type Key struct {
	ID      string
	Tenant  session.TenantID
	Hash    []byte // SHA-256
	Revoked bool
}

const createTenant = `
INSERT INTO tenant (id, name) VALUES ($1, $2)
ON CONFLICT (name) DO UPDATE SET name = excluded.name
RETURNING id`

// CreateTenant returns the tenant of that name, made where it is new.
func (s *Store) CreateTenant(ctx context.Context, name string) (session.TenantID, error) {
	var id session.TenantID
	err := s.db.QueryRowContext(ctx, createTenant, session.NewTenantID(), name).Scan(&id)
	return id, domain("create the tenant", err)
}

const putKey = `
INSERT INTO api_key (id, tenant_id, name, hash, revoked_at)
VALUES ($1, $2, $3, $4, CASE WHEN $5 THEN now() END)
ON CONFLICT (id) DO UPDATE SET tenant_id = excluded.tenant_id, name = excluded.name,
    hash = excluded.hash, revoked_at = excluded.revoked_at`

// PutKey stores a key, or replaces the one of the same id.
func (s *Store) PutKey(ctx context.Context, key Key, name string) error {
	_, err := s.db.ExecContext(ctx, putKey, key.ID, key.Tenant, name, key.Hash, key.Revoked)
	return domain("store the API key", err)
}

const keyByID = `SELECT id, tenant_id, hash, revoked_at IS NOT NULL FROM api_key WHERE id = $1`

// KeyByID returns a key, revoked or not, or session.ErrNotFound.
func (s *Store) KeyByID(ctx context.Context, id string) (Key, error) {
	var key Key
	err := s.db.QueryRowContext(ctx, keyByID, id).Scan(&key.ID, &key.Tenant, &key.Hash, &key.Revoked)
	return key, domain("look up the API key", err)
}
