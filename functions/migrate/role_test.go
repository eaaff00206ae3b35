package main

import (
	"context"
	"crypto/rand"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"github.com/wafleet/wafleet/shared/login/fakesecrets"
	"github.com/wafleet/wafleet/shared/store"
)

// TestAsAStackRunsIt: the master's login is in a secret, and the programs get a
// role of their own.
func TestAsAStackRunsIt(t *testing.T) {
	t.Parallel()
	root := direct(t)
	u, err := url.Parse(root)
	if err != nil {
		t.Fatal(err)
	}
	opened, err := store.Open(root, store.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { opened.Close() })
	app := "app_" + strings.ToLower(rand.Text())
	t.Cleanup(func() { // roles are the server's, not the database's
		if _, err := opened.DB().ExecContext(context.WithoutCancel(t.Context()), `DROP OWNED BY `+app+`, `+app+`_owner; DROP ROLE `+app+`, `+app+`_owner`); err != nil {
			t.Error(err)
		}
	})
	manager := &fakesecrets.Manager{}
	aws := httptest.NewServer(manager)
	t.Cleanup(aws.Close)
	password, _ := u.User.Password()
	kept := manager.NewSecret(t, u.User.Username(), password)
	f := newFunction(t, 0, append(fakesecrets.Environment(aws.URL),
		"DATABASE_HOST="+u.Hostname(), "DATABASE_PORT="+u.Port(), "DATABASE_NAME="+strings.TrimPrefix(u.Path, "/"), "DATABASE_SSLMODE=disable",
		"DATABASE_SECRET="+kept.ARN, "DATABASE_APP_USER="+app)...)
	if kept.Read.Load() != 0 {
		t.Error("the start waited for the secret")
	}
	for range 2 {
		if got := f.resource("create"); got.Status != "SUCCESS" || !migratedBy(t, root) {
			t.Errorf("%+v\n%s", got, f.log)
		}
	}
	var owner string
	if err := opened.DB().QueryRowContext(t.Context(), `SELECT tableowner FROM pg_tables WHERE schemaname = 'public' AND tablename = 'session'`).Scan(&owner); err != nil || owner != app+"_owner" {
		t.Errorf("the tables are %q's, error %v", owner, err)
	}
	if n := kept.Read.Load(); n != 1 {
		t.Errorf("the secret was read %d times", n)
	}
}
