package access

import (
	"context"
	"errors"
	"strings"

	"github.com/wafleet/wafleet/shared/session"
	"github.com/wafleet/wafleet/shared/store"
)

// maxQuota is what a column can hold.
const maxQuota = 1<<31 - 1

// CreateTenant makes a tenant. Errors: a [*session.FieldError],
// store.ErrTenantExists.
func (a *Access) CreateTenant(ctx context.Context, name string) (session.TenantID, error) {
	if name == "" || strings.TrimSpace(name) != name || !isName(name) {
		return "", &session.FieldError{Field: "tenant", Problem: "must be 1 to 100 characters on one line, without spaces around them"}
	}
	return a.store.CreateTenant(ctx, name)
}

// Operator is who acts on a tenant from the command line. Errors:
// [ErrTenantNotFound].
func (a *Access) Operator(ctx context.Context, tenant, requestID string) (store.Actor, error) {
	id, err := a.store.TenantByName(ctx, tenant)
	if errors.Is(err, session.ErrNotFound) {
		err = ErrTenantNotFound
	}
	return store.Actor{Tenant: id, Key: store.Operator, Request: requestID}, err
}

// Tenants lists tenants by name.
func (a *Access) Tenants(ctx context.Context, p store.Page) ([]store.Tenant, error) {
	return a.store.Tenants(ctx, p)
}

// SetQuota changes how many sessions the actor's tenant may have: nil for the
// deployment's default, 0 for any number. Sessions that are there stay. Errors:
// a [*session.FieldError].
func (a *Access) SetQuota(ctx context.Context, by store.Actor, quota *int) error {
	if quota != nil && (*quota < 0 || *quota > maxQuota) {
		return &session.FieldError{Field: "sessions", Problem: "must be a number from 0 to 2147483647"}
	}
	return a.store.SetQuota(ctx, by, quota)
}

// Audit lists what was done in a tenant, the newest first.
func (a *Access) Audit(ctx context.Context, tenant session.TenantID, f store.AuditFilter) ([]store.AuditEntry, error) {
	return a.store.Audit(ctx, tenant, f)
}
