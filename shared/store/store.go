package store

import (
	"context"
	"database/sql"
	"log/slog"
	"time"

	"github.com/wafleet/wafleet/shared/session"
)

// Store is a pool of connections to the fleet's database. It is safe for
// concurrent use.
type Store struct {
	db        *sql.DB
	often     querier // the same, for what connectors ask all the time
	connector *connector
	reads     gather[named, linking] // of those who wait for a code
	puts      gather[shown, bool]    // of codes
}

// Options of a pool.
type Options struct {
	// MaxOpen caps the connections; 2 where it is zero, which fits a Lambda.
	MaxOpen int
	// Answer is how long the server may be silent before a connection is given
	// up; 10 s where it is zero, for ever where it is negative.
	Answer time.Duration
	// ApplicationName shows in pg_stat_activity.
	ApplicationName string
	// Credentials, where they are set, are who a connection logs in as; the URL has
	// neither user nor password then.
	Credentials Credentials
	// Role, where it is set, is whom a connection acts as after its login.
	Role string
	// Owner, where it is set, names the connector that a connection is made for:
	// whoever takes its sessions over ends the connection, and with it whatever
	// was sent and has not arrived. It is asked at every connect.
	Owner func() session.ConnectorID
	// Held, where it is set, is asked before every connect and write; an error of
	// it refuses them. It must be cheap.
	Held func() error
	// Prepare lets Postgres keep the plans of what connectors ask all the time. It
	// needs connections of one's own: not those of a pooler.
	Prepare bool
}

// Open checks the URL and prepares the pool; it does not connect. sslmode must
// be in the URL: the driver's default differs from libpq's and surprises.
func Open(databaseURL string, o Options) (*Store, error) {
	if o.MaxOpen == 0 {
		o.MaxOpen = 2
	}
	if o.Answer == 0 {
		o.Answer = 10 * time.Second
	}
	connector, err := newConnector(databaseURL, o)
	if err != nil {
		return nil, err
	}
	db := sql.OpenDB(connector)
	db.SetMaxOpenConns(o.MaxOpen)
	db.SetMaxIdleConns(o.MaxOpen)
	db.SetConnMaxIdleTime(5 * time.Minute)
	s := &Store{db: db, often: db, connector: connector}
	if o.Prepare {
		s.often = newPrepared(db)
	}
	return s, nil
}

// CheckURL returns the error that Open would return for a URL, for programs that
// look at their whole environment before they begin. It repeats nothing of it.
func CheckURL(databaseURL string) error {
	_, err := newConnector(databaseURL, Options{})
	return err
}

// Close ends the pool.
func (s *Store) Close() error { return s.db.Close() }

// Ping makes sure that the database answers.
func (s *Store) Ping(ctx context.Context) error {
	return domain("reach the database", s.db.PingContext(ctx))
}

// DB is the pool itself, for the device store that shares it.
func (s *Store) DB() *sql.DB { return s.db }

// PoolStats is what the pool is doing, for metrics.
func (s *Store) PoolStats() sql.DBStats { return s.db.Stats() }

// PoolWait is how long all callers together have waited for a connection so far.
func (s *Store) PoolWait() time.Duration { return s.db.Stats().WaitDuration }

// WithLock runs do while no other process of the fleet runs under the same
// name: for schema changes that several connectors may try at boot. An error of
// do that a retry may mend becomes session.ErrUnavailable too.
func (s *Store) WithLock(ctx context.Context, name string, do func(context.Context) error) error {
	conn, err := s.db.Conn(ctx)
	if err != nil {
		return domain("take a connection", err)
	}
	defer conn.Close()
	if _, err := conn.ExecContext(ctx, `SELECT pg_advisory_lock(hashtextextended($1, 0))`, name); err != nil {
		return domain("wait for the lock "+name, err)
	}
	defer func() {
		// The lock ends with the connection too; a failure here only delays others.
		_, _ = conn.ExecContext(context.WithoutCancel(ctx), `SELECT pg_advisory_unlock(hashtextextended($1, 0))`, name)
	}()
	return domain("under the lock "+name, do(ctx))
}

// inTx runs do in one transaction and rolls back where it fails.
func (s *Store) inTx(ctx context.Context, what string, do func(*sql.Tx) error) error {
	tx, err := s.db.BeginTx(ctx, nil)
	if err != nil {
		return domain(what, err)
	}
	defer tx.Rollback() // no effect after the commit
	if err := do(tx); err != nil {
		return domain(what, err)
	}
	return domain(what, tx.Commit())
}

// forget runs a statement that deletes, and returns how many rows are gone.
func (s *Store) forget(ctx context.Context, what, query string, args ...any) (int, error) {
	result, err := s.db.ExecContext(ctx, query, args...)
	if err != nil {
		return 0, domain(what, err)
	}
	n, err := result.RowsAffected()
	return int(n), domain(what, err)
}

// querier is a pool or a transaction.
type querier interface {
	QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error)
	QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row
	ExecContext(ctx context.Context, query string, args ...any) (sql.Result, error)
}

// collect runs a query and scans every row.
func collect[T any](ctx context.Context, q querier, what string, scan func(*sql.Rows) (T, error), query string, args ...any) ([]T, error) {
	rows, err := q.QueryContext(ctx, query, args...)
	if err != nil {
		return nil, domain(what, err)
	}
	defer rows.Close()
	var list []T
	for rows.Next() {
		item, err := scan(rows)
		if err != nil {
			return nil, domain(what, err)
		}
		list = append(list, item)
	}
	return list, domain(what, rows.Err())
}

// logOf never returns nil.
func logOf(log *slog.Logger) *slog.Logger {
	if log == nil {
		return slog.New(slog.DiscardHandler)
	}
	return log
}

func milliseconds(d time.Duration) int64 { return d.Milliseconds() }
