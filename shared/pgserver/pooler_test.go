package pgserver

import (
	"context"
	"database/sql"
	"errors"
	"os"
	"testing"
)

// pid tells which connection of the server runs a client's statement.
func pid(t *testing.T, on interface {
	QueryRowContext(context.Context, string, ...any) *sql.Row
}) (pid int) {
	t.Helper()
	if err := on.QueryRowContext(t.Context(), "SELECT pg_backend_pid()").Scan(&pid); err != nil {
		t.Fatal(err)
	}
	return pid
}

// TestAPoolerGivesEachTransactionAnotherConnection: one that did not would hide
// what a session must not rely on.
func TestAPoolerGivesEachTransactionAnotherConnection(t *testing.T) {
	t.Parallel()
	server := start(t, Config{Fast: true})
	pooler, err := StartPooler(t.Context(), server.URL(""))
	if errors.Is(err, ErrNoPooler) && os.Getenv("CI") != "true" {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := pooler.Stop(); err != nil {
			t.Error(err)
		}
		if _, err := os.Stat(pooler.temp); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("its files are left: %v", err)
		}
	}()
	through := pooler.Through(server.URL(""))
	if direct := pooler.Direct(through); through == direct || direct != server.URL("") || pooler.Direct(direct) != direct {
		t.Error("the way around the pooler leads elsewhere")
	}
	db, err := sql.Open("postgres", through)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	client, err := db.Conn(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	first := pid(t, client)
	tx, err := client.BeginTx(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	if got := pid(t, tx); got != first || pid(t, tx) != first {
		t.Errorf("a transaction runs on %d, where there is one connection, %d", got, first)
	}
	second := pid(t, db) // while the first is taken
	if err := tx.Rollback(); err != nil {
		t.Fatal(err)
	}
	if turns := []int{pid(t, client), pid(t, client)}; second == first || turns[0] == turns[1] {
		t.Errorf("connections %d and %d; the client's next turns are on %v", first, second, turns)
	}
}
