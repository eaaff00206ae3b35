package pgtest

import (
	"context"
	"errors"
	"fmt"
	"os"
	"testing"
	"time"
	"unsafe"

	"github.com/wafleet/wafleet/shared/pgserver"
)

const (
	// EnvURL names the environment variable with the URL of a server to use instead of a private one.
	EnvURL = "WAFLEET_TEST_DATABASE_URL"
	// EnvPooler names the environment variable that, where it is "1", lets New return URLs by way of a pooler.
	EnvPooler = "WAFLEET_TEST_POOLER"
	// MaxConnections is what a private server allows: many parallel tests with a pool each.
	MaxConnections = 400

	// startTimeout bounds the server's start, binaries downloaded if there are none.
	startTimeout = 6 * time.Minute
	// createTimeout bounds one database's creation on a busy machine; it takes tens of milliseconds on a quiet one.
	createTimeout = time.Minute
	// dropTimeout bounds one DROP DATABASE, which waits for the connections that it terminates.
	dropTimeout = 30 * time.Second
)

// Migrate brings the empty database at a lib/pq URL to the schema under test and closes its connections.
type Migrate = func(ctx context.Context, url string) error

// New returns the lib/pq URL of a database that belongs to this test, made by migrate (nil: an empty one). It is dropped,
// open connections or not, when the test and its subtests have ended. The test fails at once if there is no server or
// migrate fails. Pass a declared function, or one value for all tests: a closure made in each test costs a template
// each.
func New(t testing.TB, migrate Migrate) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), createTimeout)
	defer cancel()
	url, name, err := process.create(ctx, migrate)
	if err != nil {
		t.Fatalf("pgtest: %v", err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), dropTimeout)
		defer cancel()
		if err := process.drop(ctx, name); err != nil {
			t.Errorf("pgtest: %v", err)
		}
	})
	if os.Getenv(EnvPooler) == "1" {
		return Pooled(t, url)
	}
	return url
}

// Durable returns the URL of a migrated database of a server of its own that runs as production's does: what it has
// committed is on the disk. It is for measurements.
func Durable(t testing.TB, migrate Migrate) string {
	t.Helper()
	server, err := pgserver.Start(t.Context(), pgserver.Config{})
	if err != nil {
		t.Fatalf("pgtest: %v", err)
	}
	t.Cleanup(func() {
		if err := server.Stop(context.WithoutCancel(t.Context())); err != nil {
			t.Errorf("pgtest: %v", err)
		}
	})
	if err := migrate(t.Context(), server.URL("")); err != nil {
		t.Fatalf("pgtest: %v", err)
	}
	return server.URL("")
}

// Pooled returns the URL of a database of New by way of a pgbouncer in transaction mode, which all tests of the process
// share. Where there is no pgbouncer the test is skipped, unless CI=true says that it must not be.
func Pooled(t testing.TB, url string) string {
	t.Helper()
	pooled, err := process.throughPooler(url)
	switch {
	case errors.Is(err, pgserver.ErrNoPooler) && os.Getenv("CI") != "true":
		fmt.Fprintf(os.Stderr, "pgtest: %s is skipped: %v\n", t.Name(), err)
		t.Skipf("pgtest: %v", err)
	case err != nil:
		t.Fatalf("pgtest: %v", err)
	}
	return pooled
}

// Direct returns the URL of a database of New without a pooler, for what needs a session of its own: LISTEN, advisory
// locks, the connection that fences a connector's writes.
func Direct(url string) string { return process.direct(url) }

// Runner is what Run and Wrap need of a *testing.M; goleak's TestingM is the same.
type Runner interface{ Run() int }

// Run runs the tests, then ends what New has started, and returns the exit code: a failure to clean up is 1 where the
// tests passed.
func Run(m Runner) int {
	code := m.Run()
	ctx, cancel := context.WithTimeout(context.Background(), dropTimeout)
	defer cancel()
	if err := process.close(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "pgtest:", err)
		code = max(code, 1)
	}
	return code
}

// Wrap returns a Runner whose Run is Run(m), to hand to goleak.VerifyTestMain.
func Wrap(m Runner) Runner { return wrapped{m} }

type wrapped struct{ m Runner }

func (w wrapped) Run() int { return Run(w.m) }

// identity tells migrate functions apart: a declared function has one, a closure one per creation. reflect only knows the
// code, which closures from one place share though they may migrate differently.
func identity(migrate Migrate) uintptr {
	return *(*uintptr)(unsafe.Pointer(&migrate)) // #nosec G103 -- reads a function's address as a key, nothing else
}
