package main

import (
	"bytes"
	"strings"
	"testing"

	"go.uber.org/goleak"

	"github.com/wafleet/wafleet/shared/pgtest"
	"github.com/wafleet/wafleet/shared/store"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(pgtest.Wrap(m)) }

// direct is the URL of an empty database. It goes past a pooler, as a migration
// does: roles and locks belong to a connection.
func direct(t *testing.T) string {
	t.Helper()
	return pgtest.Direct(pgtest.New(t, nil))
}

// The environment belongs to the process, so these tests are not parallel.

func TestMigrateTwice(t *testing.T) {
	url := direct(t)
	t.Setenv("DATABASE_URL", url)
	for _, says := range []string{"msg=migrated", "up to date"} {
		var out, problems bytes.Buffer
		if code := run(nil, &out, &problems); code != 0 || !strings.Contains(out.String(), says) {
			t.Fatalf("exit %d\n%s%s", code, &out, &problems)
		}
	}
	opened, err := store.Open(url, store.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer opened.Close()
	if _, err := opened.CreateTenant(t.Context(), "acme"); err != nil {
		t.Error(err)
	}
}

func TestMigrateFails(t *testing.T) {
	for url, code := range map[string]int{
		"": 2, "mysql://u:hidden@h/x": 2, "postgres://u:hidden@127.0.0.1:1/x?sslmode=disable": 1,
	} {
		t.Setenv("DATABASE_URL", url)
		var out bytes.Buffer
		if got := run(nil, &out, &out); got != code || out.Len() == 0 || strings.Contains(out.String(), "hidden") {
			t.Errorf("%q: exit %d, want %d\n%s", url, got, code, &out)
		}
	}
	t.Setenv("DATABASE_URL", direct(t))
	t.Setenv("DATABASE_APP_USER", "Odd Name")
	t.Setenv("MIGRATE_TIMEOUT", "hidden")
	var says bytes.Buffer
	if got := run(nil, &says, &says); got != 2 || !strings.Contains(says.String(), "DATABASE_APP_USER must be") || !strings.Contains(says.String(), "MIGRATE_TIMEOUT must be") || strings.Contains(says.String(), "hidden") {
		t.Errorf("exit %d\n%s", got, &says)
	}
	for _, args := range [][]string{{"down"}, {"-x"}} {
		if got := run(args, new(bytes.Buffer), new(bytes.Buffer)); got != 2 {
			t.Errorf("%v: exit %d", args, got)
		}
	}
}
