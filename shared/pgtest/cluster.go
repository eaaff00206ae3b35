package pgtest

import (
	"context"
	"crypto/rand"
	"database/sql"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"sync"

	"github.com/lib/pq"

	"github.com/wafleet/wafleet/shared/pgserver"
)

// process is the state that all tests of a process share.
var process cluster

// cluster is a server and the templates made on it.
type cluster struct {
	start sync.Mutex // held while the server starts, so that one does

	mu        sync.Mutex
	base      string                // guarded by mu; URL of the server, "" before it is known
	server    *pgserver.Server      // guarded by mu; nil if the server is not ours
	pooler    *pgserver.Pooler      // guarded by mu; nil before somebody needs it
	templates map[uintptr]*template // guarded by mu; by identity of the migrate function
}

// template is a database made once, by the first test that needs it.
type template struct {
	// name makes the database at the first call and returns its name.
	name func() (string, error)
	// migrate is kept so that its identity is not given to another function.
	migrate Migrate
}

// create returns a new database made by migrate.
func (c *cluster) create(ctx context.Context, migrate Migrate) (url, name string, err error) {
	base, err := c.serverURL()
	if err != nil {
		return "", "", err
	}
	from, err := c.templateOf(base, migrate).name()
	if err != nil {
		return "", "", err
	}
	name = newName("test")
	if err := execOn(ctx, base, "CREATE DATABASE "+pq.QuoteIdentifier(name)+" TEMPLATE "+pq.QuoteIdentifier(from)); err != nil {
		return "", "", fmt.Errorf("create database: %w", err)
	}
	url, err = pgserver.WithDatabase(base, name)
	return url, name, err
}

func (c *cluster) drop(ctx context.Context, name string) error {
	base, err := c.serverURL()
	if err != nil {
		return err
	}
	if err := execOn(ctx, base, "DROP DATABASE IF EXISTS "+pq.QuoteIdentifier(name)+" WITH (FORCE)"); err != nil {
		return fmt.Errorf("drop database: %w", err)
	}
	return nil
}

// serverURL returns the server's address and starts a private server if there is none.
func (c *cluster) serverURL() (string, error) {
	c.start.Lock()
	defer c.start.Unlock()
	if base := c.known(); base != "" {
		return base, nil
	}
	if base := os.Getenv(EnvURL); base != "" {
		c.set(base, nil)
		return base, nil
	}
	// Its own deadline: the first test's must not end a download that serves all.
	ctx, cancel := context.WithTimeout(context.Background(), startTimeout)
	defer cancel()
	server, err := pgserver.Start(ctx, pgserver.Config{Fast: true, MaxConnections: MaxConnections, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		return "", err
	}
	c.set(server.URL("postgres"), server)
	return c.known(), nil
}

func (c *cluster) known() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.base
}

func (c *cluster) set(base string, server *pgserver.Server) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.base, c.server = base, server
}

// throughPooler returns the URL of a database by way of the pooler, and starts that if there is none.
func (c *cluster) throughPooler(direct string) (string, error) {
	base, err := c.serverURL()
	if err != nil {
		return "", err
	}
	c.start.Lock()
	defer c.start.Unlock()
	c.mu.Lock()
	pooler := c.pooler
	c.mu.Unlock()
	if pooler == nil {
		ctx, cancel := context.WithTimeout(context.Background(), createTimeout)
		defer cancel()
		if pooler, err = pgserver.StartPooler(ctx, base); err != nil {
			return "", err
		}
		c.mu.Lock()
		c.pooler = pooler
		c.mu.Unlock()
	}
	return pooler.Through(direct), nil
}

func (c *cluster) direct(url string) string {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.pooler == nil {
		return url
	}
	return c.pooler.Direct(url)
}

func (c *cluster) templateOf(base string, migrate Migrate) *template {
	c.mu.Lock()
	defer c.mu.Unlock()
	key := identity(migrate)
	if c.templates == nil {
		c.templates = map[uintptr]*template{}
	}
	if c.templates[key] == nil {
		c.templates[key] = &template{migrate: migrate, name: sync.OnceValues(func() (string, error) {
			// Its own deadline: one impatient test must not spoil the template for the others.
			ctx, cancel := context.WithTimeout(context.Background(), createTimeout)
			defer cancel()
			return makeTemplate(ctx, base, migrate)
		})}
	}
	return c.templates[key]
}

func makeTemplate(ctx context.Context, base string, migrate Migrate) (string, error) {
	name := newName("template")
	if err := execOn(ctx, base, "CREATE DATABASE "+pq.QuoteIdentifier(name)+" TEMPLATE template0"); err != nil {
		return "", fmt.Errorf("create template: %w", err)
	}
	if err := fillTemplate(ctx, base, name, migrate); err != nil {
		return "", errors.Join(err, execOn(ctx, base, "DROP DATABASE "+pq.QuoteIdentifier(name)+" WITH (FORCE)"))
	}
	return name, nil
}

// fillTemplate migrates and then closes the database: a database with connections cannot be copied.
func fillTemplate(ctx context.Context, base, name string, migrate Migrate) error {
	if migrate != nil {
		url, err := pgserver.WithDatabase(base, name)
		if err != nil {
			return err
		}
		if err := migrate(ctx, url); err != nil {
			return fmt.Errorf("migrate template: %w", err)
		}
	}
	if err := execOn(ctx, base, "ALTER DATABASE "+pq.QuoteIdentifier(name)+" ALLOW_CONNECTIONS false"); err != nil {
		return fmt.Errorf("close template: %w", err)
	}
	if err := execOn(ctx, base, "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE datname = "+pq.QuoteLiteral(name)); err != nil {
		return fmt.Errorf("disconnect from template: %w", err)
	}
	return nil
}

// close stops what was started, or removes the templates from a server that stays.
func (c *cluster) close(ctx context.Context) error {
	c.mu.Lock()
	base, server, pooler, templates := c.base, c.server, c.pooler, c.templates
	c.base, c.server, c.pooler, c.templates = "", nil, nil, nil
	c.mu.Unlock()
	var errs []error
	if pooler != nil {
		errs = append(errs, pooler.Stop())
	}
	if server != nil {
		return errors.Join(append(errs, server.Stop(ctx))...)
	}
	for _, made := range templates {
		if name, err := made.name(); err == nil {
			errs = append(errs, execOn(ctx, base, "DROP DATABASE "+pq.QuoteIdentifier(name)+" WITH (FORCE)"))
		}
	}
	return errors.Join(errs...)
}

// execOn runs one statement on a connection of its own. An idle pool would count against the tests' connections and
// against their leak checks.
func execOn(ctx context.Context, url, statement string) error {
	url, err := pgserver.WithDatabase(url, "postgres")
	if err != nil {
		return err
	}
	db, err := sql.Open("postgres", url)
	if err != nil {
		return err
	}
	_, err = db.ExecContext(ctx, statement)
	return errors.Join(err, db.Close())
}

// newName is unique over processes and valid in an unquoted identifier too.
func newName(kind string) string {
	return fmt.Sprintf("wafleet_%s_%d_%s", kind, os.Getpid(), strings.ToLower(rand.Text()))
}
