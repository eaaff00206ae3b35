// Package pgtest gives every test its own database on a real Postgres.
//
// One server serves a test process: the one that WAFLEET_TEST_DATABASE_URL names (its role must be allowed to create
// databases), or else a private one that the first New starts. The migrations run once per process and migrate function,
// into a template; a test's database is a copy of it, which takes tens of milliseconds, and is dropped when the test ends.
// Names are random, so that test processes share a server without meeting.
//
// A package with tests calls Run, which ends what New has started:
//
//	func TestMain(m *testing.M) { goleak.VerifyTestMain(pgtest.Wrap(m)) }
//
//	func TestSomething(t *testing.T) {
//		t.Parallel()
//		url := pgtest.New(t, schema.Migrate)
//		...
//	}
//
// Without Run a private server dies with its process on Linux, and its temporary data stays for a later sweep.
//
// With WAFLEET_TEST_POOLER=1 the URLs lead through a pgbouncer in transaction mode, as the API's may in production; the
// migrations and what Direct is asked for do not.
//
// The command in cmd/pgtest starts one server for many test processes:
//
//	go run ./shared/pgtest/cmd/pgtest -- go test ./...
//
// The package imports no schema, so that the store's own tests can use it.
package pgtest
