package control

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/wafleet/wafleet/shared/session"
	"github.com/wafleet/wafleet/shared/store"
)

// Lifecycle records what users want.
type Lifecycle interface {
	Start(ctx context.Context, tenant session.TenantID, name session.Name, config *session.Config, defaults session.Config) (s session.Session, created bool, err error)
	Stop(ctx context.Context, tenant session.TenantID, name session.Name) (session.Session, error)
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
	RequestCode(ctx context.Context, tenant session.TenantID, name session.Name, phone session.Phone) (id string, err error)
	CodeAnswer(ctx context.Context, id string) (answer session.CodeAnswer, answered bool, err error)
	ForgetCodeRequest(ctx context.Context, id string) error
}

// Keys finds API keys; session.ErrNotFound for an unknown id.
type Keys interface {
	KeyByID(ctx context.Context, id string) (store.Key, error)
}

// Store is everything that control needs; [store.Store] has it.
type Store interface {
	Lifecycle
	Reader
	Linker
	Keys
}

// Config is what a deployment decides.
type Config struct {
	// Defaults stand for fields that a caller omits.
	Defaults session.Defaults
	// SQLiteAvailable says that connectors have a data directory that outlives
	// them. Without one sqlite3 is refused.
	SQLiteAvailable bool
}

// Control is safe for concurrent use.
type Control struct {
	store  Store
	config Config
	keys   *keyCache
	health healthCache
}

// New returns a Control over the store.
func New(store Store, config Config) *Control {
	return &Control{store: store, config: config, keys: newKeyCache(store)}
}

// Defaults is what the deployment puts where a caller says nothing.
func (c *Control) Defaults() session.Defaults { return c.config.Defaults }

// Start starts a session and creates it where the tenant has none of that name;
// created tells. A nil config keeps the stored one. Errors: a
// [*session.FieldError], session.ErrActive, session.ErrStoreInUse,
// session.ErrUnavailable.
func (c *Control) Start(ctx context.Context, tenant session.TenantID, name session.Name, config *session.Config) (s session.Session, created bool, err error) {
	if err := checkSize(config); err != nil {
		return session.Session{}, false, err
	}
	if err := c.checkStore(ctx, tenant, name, config); err != nil {
		return session.Session{}, false, err
	}
	return c.store.Start(ctx, tenant, name, config, session.DefaultConfig(c.config.Defaults))
}

// maxConfig is in bytes of JSON. A config is read with its session on every
// request and many are answered at once in a list, so it has to be far smaller
// than a body may be.
const maxConfig = 64 << 10

func checkSize(config *session.Config) error {
	if config == nil {
		return nil
	}
	text, err := json.Marshal(config)
	if err != nil {
		return fmt.Errorf("encode the config: %w", err)
	}
	if len(text) > maxConfig {
		return &session.FieldError{Field: "config", Problem: fmt.Sprintf("must be at most %d KiB", maxConfig>>10)}
	}
	return nil
}

// checkStore refuses a device store that this deployment does not have. A start
// without a config has to look at the stored one first, but only where sqlite3
// is missing.
func (c *Control) checkStore(ctx context.Context, tenant session.TenantID, name session.Name, config *session.Config) error {
	if c.config.SQLiteAvailable {
		return nil
	}
	effective := session.DefaultConfig(c.config.Defaults)
	if config != nil {
		effective = *config
	} else if stored, err := c.store.Session(ctx, tenant, name); err == nil {
		effective = stored.Config
	} else if !errors.Is(err, session.ErrNotFound) {
		return err
	}
	if effective.Store.Dialect != session.SQLite {
		return nil
	}
	return &session.FieldError{
		Field:   "config.store.dialect",
		Problem: "cannot be sqlite3 (the value of this request or its default): this deployment has no data directory; use postgres",
	}
}

// Stop stops a session; its credentials stay. Errors: session.ErrNotFound,
// session.ErrStopped, session.ErrUnavailable.
func (c *Control) Stop(ctx context.Context, tenant session.TenantID, name session.Name) (session.Session, error) {
	return c.store.Stop(ctx, tenant, name)
}

// Get reads one session. Errors: session.ErrNotFound, session.ErrUnavailable.
func (c *Control) Get(ctx context.Context, tenant session.TenantID, name session.Name) (session.Session, error) {
	return c.store.Session(ctx, tenant, name)
}

// List reads a tenant's sessions, by name.
func (c *Control) List(ctx context.Context, tenant session.TenantID, filter store.Filter) ([]session.Session, error) {
	return c.store.Sessions(ctx, tenant, filter)
}
