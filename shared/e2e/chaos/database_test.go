package chaos

import (
	"context"
	"database/sql"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/wafleet/wafleet/shared/pgserver"
	"github.com/wafleet/wafleet/shared/schema"
)

// database is a Postgres of the fleet's own, which ends and comes back at the
// same address with the same data.
type database struct {
	testing.TB
	config  pgserver.Config
	url     *url.URL
	*sql.DB // for looking, past every link

	restarting sync.Mutex       // one restart at a time
	server     *pgserver.Server // guarded by restarting
	changes    atomic.Int64     // odd while it is away
}

const (
	// firstStartTimeout bounds the first start, binaries downloaded if there are none.
	firstStartTimeout = 6 * time.Minute
	// startTimeout bounds the others, crash recovery included.
	startTimeout = time.Minute
)

func newDatabase(t testing.TB) *database {
	t.Helper()
	dir := t.TempDir()
	if err := os.Chmod(filepath.Dir(dir), 0o755); err != nil { // root's server runs as another account
		t.Fatal(err)
	}
	d := &database{TB: t, config: pgserver.Config{
		DataDir: filepath.Join(dir, "postgres"), Port: quietPort(t), Fast: true, MaxConnections: 400,
	}}
	if err := d.start(firstStartTimeout); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := d.server.Stop(context.Background()); err != nil {
			t.Error(err)
		}
	})
	d.prepare()
	return d
}

func (d *database) start(patience time.Duration) error {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	server, err := pgserver.Start(ctx, d.config)
	if err != nil {
		return fmt.Errorf("start Postgres: %w", err)
	}
	d.server = server
	return nil
}

// prepare makes the fleet's database and opens it.
func (d *database) prepare() {
	d.Helper()
	admin := d.open(d.server.URL(""))
	defer admin.Close()
	// A crash must lose nothing that was committed, unlike the machine's, for
	// which fsync is off. The database's setting goes before the server's.
	for _, statement := range []string{`CREATE DATABASE wafleet`, `ALTER DATABASE wafleet SET synchronous_commit = on`} {
		if _, err := admin.ExecContext(d.Context(), statement); err != nil {
			d.Fatal(err)
		}
	}
	address := d.server.URL("wafleet")
	if err := schema.Migrate(d.Context(), address, nil); err != nil {
		d.Fatal(err)
	}
	var err error
	if d.url, err = url.Parse(address); err != nil {
		d.Fatal(err)
	}
	d.DB = d.open(address)
	d.Cleanup(func() { d.DB.Close() })
}

func (d *database) open(address string) *sql.DB {
	d.Helper()
	db, err := sql.Open("postgres", address)
	if err != nil {
		d.Fatal(err)
	}
	return db
}

// through is the database's URL by way of another host and port.
func (d *database) through(host string) string {
	u := *d.url
	u.Host = host
	return u.String()
}

// restart ends the server, in order or by a crash, and starts it again after a
// pause.
func (d *database) restart(crash bool, pause time.Duration) {
	d.restarting.Lock()
	defer d.restarting.Unlock()
	d.changes.Add(1)
	defer d.changes.Add(1)
	var err error
	if crash {
		err = d.server.Crash()
	} else {
		err = d.server.Stop(context.Background())
	}
	if err != nil {
		d.Errorf("end Postgres: %v", err)
	}
	time.Sleep(pause)
	if err := d.start(startTimeout); err != nil {
		d.Error(err)
		return
	}
	d.SetMaxIdleConns(0) // what is left of before is broken
	d.SetMaxIdleConns(2)
}

// excuse begins before a use of the database; what it returns says afterwards
// whether the database was away meanwhile.
func (d *database) excuse() func() bool {
	before := d.changes.Load()
	return func() bool { return before%2 == 1 || d.changes.Load() != before }
}

// backends counts the connections of connectors.
func (d *database) backends() (n int, err error) {
	err = d.QueryRowContext(context.Background(), `SELECT count(*) FROM pg_stat_activity
		WHERE datname = current_database() AND application_name ~ '^wafleet-(heartbeat|connector|devices)'`).Scan(&n)
	return n, err
}

func hostOf(port int) string { return "127.0.0.1:" + strconv.Itoa(port) }
