package store

import (
	"context"
	"database/sql"
	"errors"
	"time"

	"github.com/wafleet/wafleet/shared/session"
)

// ErrTenantExists: the name of a new tenant is taken.
var ErrTenantExists = errors.New("a tenant of that name exists already")

// Tenant is an owner of keys and sessions.
type Tenant struct {
	ID        session.TenantID
	Name      string // 1 to 100 characters
	CreatedAt time.Time
	Quota     *int // sessions at most, 0 for any number; nil for the deployment's default
	Sessions  int
	Keys      int // that work
}

const createTenant = `
WITH made AS (
    INSERT INTO tenant (id, name) VALUES ($1, $2) ON CONFLICT (name) DO NOTHING
    RETURNING id, name
), noted AS (
    INSERT INTO audit (tenant_id, key_id, action, subject) SELECT id, '` + Operator + `', 'tenant.create', name FROM made
)
SELECT id FROM made`

// CreateTenant makes a tenant for an operator: no key can. Errors:
// [ErrTenantExists].
func (s *Store) CreateTenant(ctx context.Context, name string) (session.TenantID, error) {
	var id session.TenantID
	err := s.db.QueryRowContext(ctx, createTenant, session.NewTenantID(), name).Scan(&id)
	if errors.Is(err, sql.ErrNoRows) {
		return "", ErrTenantExists
	}
	return id, domain("create the tenant", err)
}

// EnsureTenant returns the tenant of that name, made where it is new.
func (s *Store) EnsureTenant(ctx context.Context, name string) (session.TenantID, error) {
	id, err := s.CreateTenant(ctx, name)
	if errors.Is(err, ErrTenantExists) {
		id, err = s.TenantByName(ctx, name)
	}
	return id, err
}

const tenantByName = `SELECT id FROM tenant WHERE name = $1`

// TenantByName finds a tenant, or returns session.ErrNotFound.
func (s *Store) TenantByName(ctx context.Context, name string) (session.TenantID, error) {
	var id session.TenantID
	err := s.db.QueryRowContext(ctx, tenantByName, name).Scan(&id)
	return id, domain("look for the tenant", err)
}

const tenants = `
SELECT t.id, t.name, t.created_at, t.session_quota,
    (SELECT count(*) FROM session s WHERE s.tenant_id = t.id AND s.deleted_at IS NULL),
    (SELECT count(*) FROM api_key k WHERE k.tenant_id = t.id AND ` + keyLives + `)
FROM tenant t ORDER BY t.name LIMIT $1 OFFSET $2`

// Tenants lists tenants by name.
func (s *Store) Tenants(ctx context.Context, p Page) ([]Tenant, error) {
	return collect(ctx, s.db, "list the tenants", func(rows *sql.Rows) (Tenant, error) {
		var (
			t     Tenant
			quota sql.NullInt32
		)
		err := rows.Scan(&t.ID, &t.Name, &t.CreatedAt, &quota, &t.Sessions, &t.Keys)
		if quota.Valid {
			n := int(quota.Int32)
			t.Quota = &n
		}
		return t, err
	}, tenants, p.Limit, p.Offset)
}

const setQuota = `
WITH changed AS (
    UPDATE tenant SET session_quota = $2 WHERE id = $1 RETURNING id, name
), noted AS (
    INSERT INTO audit (tenant_id, key_id, action, subject, request_id) SELECT id, $3, 'tenant.quota', name, $4 FROM changed
)
SELECT id FROM changed`

// SetQuota changes how many sessions the actor's tenant may have: nil for the
// deployment's default, 0 for any number. Sessions that are there stay. Errors:
// session.ErrNotFound.
func (s *Store) SetQuota(ctx context.Context, by Actor, quota *int) error {
	err := s.db.QueryRowContext(ctx, setQuota, by.Tenant, quota, by.Key, by.Request).Scan(new(string))
	return domain("set the tenant's quota", err)
}
