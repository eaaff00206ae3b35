package control

import (
	"context"

	"github.com/wafleet/wafleet/shared/session"
	"github.com/wafleet/wafleet/shared/store"
)

// Lifecycle records what users want.
type Lifecycle interface {
	Start(ctx context.Context, by store.Actor, name session.Name, config *session.Stored, defaults session.Config, quota int) (s session.Session, created bool, err error)
	Create(ctx context.Context, by store.Actor, name session.Name, config session.Stored, run bool, quota int) (session.Session, error)
	Stop(ctx context.Context, by store.Actor, name session.Name) (session.Session, error)
	Restart(ctx context.Context, by store.Actor, name session.Name, config *session.Stored) (session.Session, error)
	Update(ctx context.Context, by store.Actor, name session.Name, config session.Stored) (session.Session, error)
	Logout(ctx context.Context, by store.Actor, name session.Name) (session.Session, error)
	Delete(ctx context.Context, by store.Actor, name session.Name) (session.Session, error)
}

// Reader reads sessions and reports whether the database answers.
type Reader interface {
	Session(ctx context.Context, tenant session.TenantID, name session.Name) (session.Session, error)
	Sessions(ctx context.Context, tenant session.TenantID, filter store.Filter) ([]session.Session, error)
	Ping(ctx context.Context) error
	OutdatedShare(ctx context.Context) (float64, error)
}

// Linker is the row that a holder and a waiting request share.
type Linker interface {
	Pairing(ctx context.Context, tenant session.TenantID, name session.Name) (session.Session, session.Pairing, error)
	RequestCode(ctx context.Context, by store.Actor, name session.Name, phone session.Phone) (id string, err error)
	CodeAnswer(ctx context.Context, id string) (answer session.CodeAnswer, answered bool, err error)
	ForgetCodeRequest(ctx context.Context, id string) error
}

// Store is everything that control needs; [store.Store] has it.
type Store interface {
	Lifecycle
	Reader
	Linker
	Repeats
}

// Hinter tells connectors that a session wants one. It bounds its time by itself
// and does not fail: connectors find the session without it, a little later.
type Hinter interface {
	Hint(ctx context.Context, id session.ID, generation session.Generation)
}

// Config is what a deployment decides.
type Config struct {
	// Defaults stand for fields that a caller omits.
	Defaults session.Defaults
	// SQLiteAvailable says that connectors have a data directory that outlives
	// them. Without one sqlite3 is refused.
	SQLiteAvailable bool
	Secrets         Sealer // nil: configs with secrets are refused
	Hints           Hinter // nil: none but the database's own
}

// Control is safe for concurrent use.
type Control struct {
	store  Store
	config Config
	health healthCache
}

// New returns a Control over the store.
func New(store Store, config Config) *Control {
	return &Control{store: store, config: config}
}

// Defaults is what the deployment puts where a caller says nothing.
func (c *Control) Defaults() session.Defaults { return c.config.Defaults }

// Get reads one session. Errors: session.ErrNotFound, session.ErrUnavailable.
func (c *Control) Get(ctx context.Context, tenant session.TenantID, name session.Name) (session.Session, error) {
	return c.store.Session(ctx, tenant, name)
}

// List reads a tenant's sessions, by name.
func (c *Control) List(ctx context.Context, tenant session.TenantID, filter store.Filter) ([]session.Session, error) {
	return c.store.Sessions(ctx, tenant, filter)
}
