package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"strings"
	"time"

	"github.com/wafleet/wafleet/infra/local/logs"
	"github.com/wafleet/wafleet/shared/apikey"
	"github.com/wafleet/wafleet/shared/pgserver"
	"github.com/wafleet/wafleet/shared/schema"
	"github.com/wafleet/wafleet/shared/session"
	"github.com/wafleet/wafleet/shared/store"
	"github.com/wafleet/wafleet/shared/telemetry"
)

const (
	// tenantName and keyName are what the rows of a local run are called.
	tenantName = "default"
	keyName    = "make run"
	// invokedKeyName is that of "make invoke".
	invokedKeyName = "make invoke"
	// storeConnections serve the API, the watch and known deaths.
	storeConnections = 12
	// connectionsEach is how many connections one connector may take.
	connectionsEach = 40
	// postgresPatience is how long Postgres may take for an orderly end.
	postgresPatience = 1200 * time.Millisecond
)

// database is a Postgres with the schema and the tenant in it.
type database struct {
	*store.Store
	tenant session.TenantID
	url    string // with the password
	where  string // for people
	server *pgserver.Server
}

// startDatabase uses the given Postgres, else runs a private one.
func startDatabase(ctx context.Context, set settings, data *dataDir, log *logs.Log, screen *console) (_ *database, err error) {
	db := &database{url: set.DatabaseURL, where: describeURL(set.DatabaseURL)}
	defer func() {
		if err != nil {
			err = errors.Join(err, db.stop(context.WithoutCancel(ctx)))
		}
	}()
	if db.url == "" {
		if err := db.serve(ctx, set, data, log, screen); err != nil {
			return nil, err
		}
	}
	if err := schema.Migrate(ctx, db.url, telemetry.New(log, slog.LevelInfo)); err != nil {
		return nil, err
	}
	if db.Store, err = store.Open(db.url, store.Options{MaxOpen: storeConnections, ApplicationName: "wafleet-local"}); err != nil {
		return nil, err
	}
	db.tenant, err = db.EnsureTenant(ctx, tenantName)
	return db, err
}

func (db *database) serve(ctx context.Context, set settings, data *dataDir, log *logs.Log, screen *console) (err error) {
	db.server, err = pgserver.Start(ctx, pgserver.Config{
		DataDir:        data.in("postgres"),
		MaxConnections: 60 + connectionsEach*set.Connectors,
		Log:            slog.New(progress{slog.NewJSONHandler(log, &slog.HandlerOptions{Level: slog.LevelDebug}), screen}),
	})
	if errors.Is(err, pgserver.ErrInUse) {
		return alreadyRunning(data.path, "")
	}
	if err != nil {
		return err
	}
	db.url, db.where = db.server.URL(""), "private, "+db.server.Source()
	return nil
}

// admit makes the key one of the tenant's, with every right.
func (db *database) admit(ctx context.Context, key, name string) (id string, err error) {
	id, hash, err := apikey.Parse(key)
	if err != nil {
		return "", err
	}
	err = db.AdmitKey(ctx, db.tenant, store.NewKey{ID: id, Hash: hash[:], Name: name, Scope: store.ScopeAdmin})
	if errors.Is(err, session.ErrNotFound) {
		return "", errors.New("API_KEY is the key of another tenant in this database: choose another one")
	}
	return id, err
}

// admitOnly also ends the keys that people chose for earlier runs. Keys that
// were made, by runs on other data say, stay: nobody can guess them.
func (db *database) admitOnly(ctx context.Context, key string) error {
	id, err := db.admit(ctx, key, keyName)
	for _, name := range []string{keyName, invokedKeyName} {
		if err == nil {
			err = db.RevokeKeysNamed(ctx, db.tenant, name, id, apikey.DerivedPrefix)
		}
	}
	return err
}

// gone is closed when a private server has ended; nil where there is none.
func (db *database) gone() <-chan struct{} {
	if db.server == nil {
		return nil
	}
	return db.server.Done()
}

func (db *database) stop(hurry context.Context) (err error) {
	if db.Store != nil {
		err = db.Store.Close()
	}
	if db.server == nil {
		return err
	}
	ctx, cancel := context.WithTimeout(hurry, postgresPatience)
	defer cancel()
	return errors.Join(err, db.server.Stop(ctx))
}

// describeURL leaves out everything but the host and the name: the user is
// nobody's business, the password a secret.
func describeURL(databaseURL string) string {
	u, err := url.Parse(databaseURL)
	if err != nil || databaseURL == "" {
		return ""
	}
	return fmt.Sprintf("DATABASE_URL: %s on %s", strings.TrimPrefix(u.Path, "/"), u.Host)
}

// progress shows what takes a while, and passes everything on to the file.
type progress struct {
	slog.Handler
	screen *console
}

// Handle implements [slog.Handler].
func (p progress) Handle(ctx context.Context, record slog.Record) error {
	if record.Level == slog.LevelInfo {
		text := record.Message
		record.Attrs(func(a slog.Attr) bool {
			text += " " + a.Key + "=" + a.Value.String()
			return true
		})
		p.screen.Step("%s", text)
	}
	return p.Handler.Handle(ctx, record)
}
