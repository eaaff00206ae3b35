package access

import (
	"context"
	"time"

	"github.com/wafleet/wafleet/shared/apikey"
	"github.com/wafleet/wafleet/shared/session"
	"github.com/wafleet/wafleet/shared/store"
)

// Finder finds keys; session.ErrNotFound for an unknown id.
type Finder interface {
	KeyByID(ctx context.Context, id string, presented []byte) (store.PresentedKey, error)
}

// Ledger keeps a tenant's keys.
type Ledger interface {
	CreateKey(ctx context.Context, by store.Actor, key store.NewKey) (store.Key, error)
	Keys(ctx context.Context, tenant session.TenantID, p store.Page) ([]store.Key, error)
	RevokeKey(ctx context.Context, by store.Actor, id string) error
	RotateKey(ctx context.Context, by store.Actor, old string, key store.NewKey, grace time.Duration) (store.Key, error)
}

// Registry keeps tenants, and what was done.
type Registry interface {
	CreateTenant(ctx context.Context, name string) (session.TenantID, error)
	TenantByName(ctx context.Context, name string) (session.TenantID, error)
	Tenants(ctx context.Context, p store.Page) ([]store.Tenant, error)
	SetQuota(ctx context.Context, by store.Actor, quota *int) error
	Audit(ctx context.Context, tenant session.TenantID, f store.AuditFilter) ([]store.AuditEntry, error)
}

// Store is everything that access needs; [store.Store] has it.
type Store interface {
	Finder
	Ledger
	Registry
}

// Config is what a deployment decides.
type Config struct {
	// RatePerSecond and RateBurst bound the requests of each key; a rate of 0
	// bounds nothing.
	RatePerSecond float64
	RateBurst     int
	// SessionQuota is how many sessions a tenant without a quota of its own may
	// have; 0 for any number.
	SessionQuota int
	// WeakKeys accepts keys that an operator chose too short. Only for an API
	// that nobody but its own machine reaches.
	WeakKeys bool
}

// DefaultConfig is what a deployment gets that decides nothing.
func DefaultConfig() Config { return Config{RatePerSecond: 50, RateBurst: 100} }

// Access is safe for concurrent use.
type Access struct {
	store  Store
	config Config
	now    func() time.Time
	keys   *keyCache
	rates  *buckets
}

// New returns an Access over the store.
func New(s Store, config Config) *Access {
	return &Access{store: s, config: config, now: wallTime, keys: newKeyCache(s), rates: newBuckets(config.RatePerSecond, config.RateBurst)}
}

// wallTime leaves the monotonic reading out: that one may stand still while
// Lambda freezes the process, and a revoked key would work for longer.
func wallTime() time.Time { return time.Now().Round(0) }

// Authenticate recognises a key. Errors: [ErrKeyInvalid], [*LimitedError],
// session.ErrUnavailable.
func (a *Access) Authenticate(ctx context.Context, presented string) (Caller, error) {
	id, hash, err := apikey.Parse(presented)
	if err != nil || apikey.Weak(presented) && !a.config.WeakKeys {
		return Caller{}, ErrKeyInvalid
	}
	now := a.now()
	key, err := a.keys.get(ctx, id, hash, now)
	if err != nil {
		return Caller{}, err
	}
	if !apikey.Matches(key.Hash, hash) || key.Left <= 0 {
		return Caller{}, a.keys.mistake(id, now)
	}
	quota := a.config.SessionQuota
	if key.Quota != nil {
		quota = *key.Quota
	}
	return Caller{Tenant: key.Tenant, KeyID: key.ID, Scope: key.Scope, Session: key.Session, Quota: quota}, nil
}

// Spend takes a request from a key's allowance; the second value is false where
// nothing bounds it.
func (a *Access) Spend(caller Caller) (Allowance, bool) { return a.rates.spend(caller.KeyID, a.now()) }
