package store

import (
	"context"
	"database/sql"
	"time"

	"github.com/wafleet/wafleet/shared/session"
)

// Scope is what an API key may do; functions/access gives it its meaning.
type Scope string

// The scopes.
const (
	ScopeAdmin   Scope = "admin"
	ScopeTenant  Scope = "tenant"
	ScopeSession Scope = "session"
	ScopeRead    Scope = "read"
)

// Key is an API key as the database knows it. The secret is not there, and its
// hash leaves the store only in KeyByID.
type Key struct {
	ID         string
	Tenant     session.TenantID
	Name       string
	Scope      Scope
	Session    session.Name // the only one that it sees; empty for all
	CreatedAt  time.Time
	CreatedBy  string    // id of the API key, Operator, or empty where nobody knows
	ExpiresAt  time.Time // zero for never
	LastUsedAt time.Time // to the minute; zero for never
	RevokedAt  time.Time // zero for never
}

// NewKey is a key to store.
type NewKey struct {
	ID        string
	Hash      []byte // SHA-256
	Name      string
	Scope     Scope // ScopeTenant where empty
	Session   session.Name
	ExpiresAt time.Time     // zero for never, unless ExpiresIn says otherwise
	ExpiresIn time.Duration // from now on the database's clock; zero for ExpiresAt
}

// Page is a part of a list.
type Page struct{ Limit, Offset int }

const (
	// keyLives is true of a key k that works.
	keyLives = `k.revoked_at IS NULL AND (k.expires_at IS NULL OR k.expires_at > now())`

	keyColumns = `id, tenant_id, name, scope, COALESCE(session, ''), created_at, created_by, expires_at, last_used_at, revoked_at`
)

func scanKey(row scanner) (Key, error) {
	var (
		k                      Key
		expires, used, revoked sql.NullTime
	)
	err := row.Scan(&k.ID, &k.Tenant, &k.Name, &k.Scope, &k.Session, &k.CreatedAt, &k.CreatedBy, &expires, &used, &revoked)
	k.ExpiresAt, k.LastUsedAt, k.RevokedAt = expires.Time, used.Time, revoked.Time
	return k, err
}

const createKey = `
WITH made AS (
    INSERT INTO api_key (id, tenant_id, hash, name, scope, session, expires_at, created_by)
    VALUES ($1, $2, $3, $4, $5, NULLIF($6, ''), CASE WHEN $8::bigint > 0 THEN now() + $8 * interval '1 millisecond' ELSE $7 END, $9)
    RETURNING *
), noted AS (
    INSERT INTO audit (tenant_id, key_id, action, subject, request_id) SELECT tenant_id, $9, 'key.create', id, $10 FROM made
)
SELECT ` + keyColumns + ` FROM made`

// CreateKey stores a key of the actor's tenant.
func (s *Store) CreateKey(ctx context.Context, by Actor, key NewKey) (Key, error) {
	if key.Scope == "" {
		key.Scope = ScopeTenant
	}
	expires := sql.NullTime{Time: key.ExpiresAt, Valid: !key.ExpiresAt.IsZero()}
	made, err := scanKey(s.db.QueryRowContext(ctx, createKey, key.ID, by.Tenant, key.Hash, key.Name, key.Scope, key.Session,
		expires, milliseconds(key.ExpiresIn), by.Key, by.Request))
	return made, domain("store the API key", err)
}

const keys = `SELECT ` + keyColumns + ` FROM api_key WHERE tenant_id = $1 ORDER BY created_at DESC, id DESC LIMIT $2 OFFSET $3`

// Keys lists a tenant's keys, the newest first, also those that work no more.
func (s *Store) Keys(ctx context.Context, tenant session.TenantID, p Page) ([]Key, error) {
	return collect(ctx, s.db, "list the API keys", func(rows *sql.Rows) (Key, error) { return scanKey(rows) }, keys, tenant, p.Limit, p.Offset)
}

const revokeKey = `
WITH revoked AS (
    UPDATE api_key SET revoked_at = now() WHERE tenant_id = $1 AND id = $2 AND revoked_at IS NULL
    RETURNING tenant_id, id
), noted AS (
    INSERT INTO audit (tenant_id, key_id, action, subject, request_id) SELECT tenant_id, $3, 'key.revoke', id, $4 FROM revoked
)
SELECT id FROM api_key WHERE tenant_id = $1 AND id = $2`

// RevokeKey ends a key of the actor's tenant. One that was revoked before stays
// as it was. Errors: session.ErrNotFound.
func (s *Store) RevokeKey(ctx context.Context, by Actor, id string) error {
	err := s.db.QueryRowContext(ctx, revokeKey, by.Tenant, id, by.Key, by.Request).Scan(new(string))
	return domain("revoke the API key", err)
}

// rotateKey locks the old key, so that of two that rotate it at once without a
// grace one finds it revoked.
const rotateKey = `
WITH old AS (
    SELECT * FROM api_key k WHERE k.tenant_id = $1 AND k.id = $2 AND ` + keyLives + ` FOR UPDATE
), ended AS (
    UPDATE api_key k SET
        revoked_at = CASE WHEN $5::bigint = 0 THEN now() END,
        expires_at = CASE WHEN $5 = 0 THEN k.expires_at ELSE LEAST(k.expires_at, now() + $5 * interval '1 millisecond') END
    FROM old WHERE k.id = old.id
), made AS (
    INSERT INTO api_key (id, tenant_id, hash, name, scope, session, expires_at, created_by)
    SELECT $3, tenant_id, $4, name, scope, session, expires_at, $6 FROM old
    RETURNING *
), noted AS (
    INSERT INTO audit (tenant_id, key_id, action, subject, request_id) SELECT tenant_id, $6, 'key.rotate', id || ' -> ' || $3, $7 FROM old
)
SELECT ` + keyColumns + ` FROM made`

// RotateKey puts a new key, of which only the id and the hash count, in the
// place of a living one of the actor's tenant: same name, scope, session and
// expiry. The old one works for the grace, and without one no more. Errors:
// session.ErrNotFound, also where the old key works no more.
func (s *Store) RotateKey(ctx context.Context, by Actor, old string, key NewKey, grace time.Duration) (Key, error) {
	made, err := scanKey(s.db.QueryRowContext(ctx, rotateKey, by.Tenant, old, key.ID, key.Hash, milliseconds(grace), by.Key, by.Request))
	return made, domain("rotate the API key", err)
}

const admitKey = `
WITH admitted AS (
    INSERT INTO api_key AS k (id, tenant_id, hash, name, scope, created_by) VALUES ($1, $2, $3, $4, $5, '` + Operator + `')
    ON CONFLICT (id) DO UPDATE SET hash = excluded.hash, name = excluded.name, scope = excluded.scope,
        session = NULL, expires_at = NULL, revoked_at = NULL
    WHERE k.tenant_id = excluded.tenant_id
        AND (k.hash, k.name, k.scope, k.session, k.expires_at, k.revoked_at)
            IS DISTINCT FROM (excluded.hash, excluded.name, excluded.scope, excluded.session, excluded.expires_at, excluded.revoked_at)
    RETURNING id
), noted AS (
    INSERT INTO audit (tenant_id, key_id, action, subject) SELECT $2, '` + Operator + `', 'key.create', id FROM admitted
)
SELECT tenant_id = $2 FROM api_key WHERE id = $1 UNION ALL SELECT true FROM admitted`

// AdmitKey makes a key that an operator brought one of the tenant's, whatever
// it was before; a key that is so already stays. Errors: session.ErrNotFound
// where it is another tenant's.
func (s *Store) AdmitKey(ctx context.Context, tenant session.TenantID, key NewKey) error {
	var own bool
	err := s.db.QueryRowContext(ctx, admitKey, key.ID, tenant, key.Hash, key.Name, key.Scope).Scan(&own)
	if err == nil && !own {
		err = sql.ErrNoRows
	}
	return domain("admit the API key", err)
}

const revokeKeysNamed = `
WITH revoked AS (
    UPDATE api_key k SET revoked_at = now() WHERE tenant_id = $1 AND name = $2 AND id <> $3 AND id LIKE $4 AND ` + keyLives + `
    RETURNING tenant_id, id
)
INSERT INTO audit (tenant_id, key_id, action, subject) SELECT tenant_id, '` + Operator + `', 'key.revoke', id FROM revoked`

// RevokeKeysNamed ends a tenant's living keys of a name, but for one, whose id
// begins with a prefix.
func (s *Store) RevokeKeysNamed(ctx context.Context, tenant session.TenantID, name, but, prefix string) error {
	_, err := s.db.ExecContext(ctx, revokeKeysNamed, tenant, name, but, prefix+"%")
	return domain("revoke the API keys", err)
}
