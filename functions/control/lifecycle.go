package control

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/wafleet/wafleet/shared/session"
	"github.com/wafleet/wafleet/shared/store"
)

// Start starts a session and creates it where the tenant has none of that name;
// created tells. A nil config keeps the stored one; quota is how many sessions
// the tenant may have, 0 for any number. Errors: a [*session.FieldError],
// session.ErrActive, session.ErrStoreInUse, session.ErrQuota,
// session.ErrUnavailable.
func (c *Control) Start(ctx context.Context, by store.Actor, name session.Name, config *session.Config, quota int) (s session.Session, created bool, err error) {
	stored, err := c.accept(ctx, by.Tenant, name, config)
	if err != nil {
		return session.Session{}, false, err
	}
	s, created, err = c.store.Start(ctx, by, name, stored, session.DefaultConfig(c.config.Defaults), quota)
	return c.hinted(ctx, s, err), created, err
}

// Create creates a session and starts it where run says so; a nil config is the
// default one. Errors: a [*session.FieldError], session.ErrExists,
// session.ErrQuota, session.ErrUnavailable.
func (c *Control) Create(ctx context.Context, by store.Actor, name session.Name, config *session.Config, run bool, quota int) (session.Session, error) {
	if config == nil {
		fresh := session.DefaultConfig(c.config.Defaults)
		config = &fresh
	}
	stored, err := c.accept(ctx, by.Tenant, name, config)
	if err != nil {
		return session.Session{}, err
	}
	s, err := c.store.Create(ctx, by, name, *stored, run, quota)
	return c.hinted(ctx, s, err), err
}

// Stop stops a session; its credentials stay. Errors: session.ErrNotFound,
// session.ErrStopped, session.ErrUnavailable.
func (c *Control) Stop(ctx context.Context, by store.Actor, name session.Name) (session.Session, error) {
	return c.store.Stop(ctx, by, name)
}

// Restart starts a session, over a new connection where it runs. A nil config
// keeps the stored one. Errors: a [*session.FieldError], session.ErrNotFound,
// session.ErrStoreInUse, session.ErrUnavailable.
func (c *Control) Restart(ctx context.Context, by store.Actor, name session.Name, config *session.Config) (session.Session, error) {
	stored, err := c.accept(ctx, by.Tenant, name, config)
	if err != nil {
		return session.Session{}, err
	}
	s, err := c.store.Restart(ctx, by, name, stored)
	return c.hinted(ctx, s, err), err
}

// Update replaces a session's config, and restarts it unless it is stopped.
// Errors: a [*session.FieldError], session.ErrNotFound, session.ErrStoreInUse,
// session.ErrUnavailable.
func (c *Control) Update(ctx context.Context, by store.Actor, name session.Name, config session.Config) (session.Session, error) {
	stored, err := c.accept(ctx, by.Tenant, name, &config)
	if err != nil {
		return session.Session{}, err
	}
	s, err := c.store.Update(ctx, by, name, *stored)
	return c.hinted(ctx, s, err), err
}

// Logout unlinks the session's device. Errors: session.ErrNotFound,
// session.ErrNotAuthenticated, session.ErrUnavailable.
func (c *Control) Logout(ctx context.Context, by store.Actor, name session.Name) (session.Session, error) {
	s, err := c.store.Logout(ctx, by, name)
	return c.hinted(ctx, s, err), err
}

// Delete removes a session for good. Errors: session.ErrNotFound,
// session.ErrUnavailable.
func (c *Control) Delete(ctx context.Context, by store.Actor, name session.Name) (session.Session, error) {
	s, err := c.store.Delete(ctx, by, name)
	return c.hinted(ctx, s, err), err
}

// hinted passes on a session about which a request was stored, and tells
// connectors where it wants one. A session that somebody holds is left to the
// holder, who hears of changes by other ways.
func (c *Control) hinted(ctx context.Context, s session.Session, err error) session.Session {
	if c.config.Hints != nil && err == nil && !session.Placed(s.Wanted, s.Run, s.ReadAt) {
		c.config.Hints.Hint(ctx, s.ID, s.Wanted.Generation)
	}
	return s
}

// accept checks what only the deployment knows about a config, and makes it fit
// to be kept. A nil one stays nil.
func (c *Control) accept(ctx context.Context, tenant session.TenantID, name session.Name, config *session.Config) (*session.Stored, error) {
	if err := checkSize(config); err != nil {
		return nil, err
	}
	if err := c.checkStore(ctx, tenant, name, config); err != nil || config == nil {
		return nil, err
	}
	stored, err := c.seal(ctx, tenant, *config)
	if err != nil {
		return nil, err
	}
	return &stored, nil
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
