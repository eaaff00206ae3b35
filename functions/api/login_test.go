package main

import (
	"context"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/wafleet/wafleet/shared/e2e/bootstrap"
	"github.com/wafleet/wafleet/shared/e2e/lambdarun"
	"github.com/wafleet/wafleet/shared/login/fakesecrets"
	"github.com/wafleet/wafleet/shared/pgtest"
	"github.com/wafleet/wafleet/shared/store"
)

// TestALoginOfSecretsManager: the start waits for nothing, a secret that cannot be
// had is 503, and a rotation is nobody's trouble.
func TestALoginOfSecretsManager(t *testing.T) {
	t.Parallel()
	at := pgtest.Direct(database(t)) // who may log in at a pooler is the pooler's business
	u, err := url.Parse(at)
	if err != nil {
		t.Fatal(err)
	}
	opened, err := store.Open(at, store.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { opened.Close() })
	role := "api_" + strings.TrimPrefix(u.Path, "/wafleet_test_")
	sql := func(statement string) {
		t.Helper()
		if _, err := opened.DB().ExecContext(context.WithoutCancel(t.Context()), statement); err != nil {
			t.Error(err)
		}
	}
	sql(`CREATE ROLE ` + role + ` LOGIN SUPERUSER PASSWORD 'one'`)
	t.Cleanup(func() { sql(`DROP ROLE ` + role) }) // roles are the server's, not the database's

	manager := &fakesecrets.Manager{}
	aws := httptest.NewServer(manager)
	t.Cleanup(aws.Close)
	kept := manager.NewSecret(t, role, "one")
	kept.Breaks(fakesecrets.Refuses("InternalServiceError"))
	log := &bootstrap.Output{}
	runtime, err := lambdarun.Start(t.Context(), lambdarun.Config{
		Bootstrap: bootstrap.Build(t, "lambda.norpc"), Log: log, Env: append(fakesecrets.Environment(aws.URL),
			"DATABASE_HOST="+u.Hostname(), "DATABASE_PORT="+u.Port(), "DATABASE_NAME="+strings.TrimPrefix(u.Path, "/"), "DATABASE_SSLMODE=disable",
			"DATABASE_SECRET="+kept.ARN, "SQLITE_AVAILABLE=true"),
	})
	if err != nil {
		t.Fatalf("%v\n%s", err, log)
	}
	t.Cleanup(func() {
		if err := runtime.Stop(); err != nil {
			t.Errorf("stop: %v\n%s", err, log)
		}
	})
	f := &lambdaFunction{T: t, Runtime: runtime, log: log, databaseURL: at}
	if n := kept.Read.Load(); n != 0 {
		t.Errorf("the start read the secret %d times", n)
	}
	t.Logf("cold start %s", runtime.ColdStart().Round(time.Millisecond))
	want := func(when string, status int) {
		t.Helper()
		if response, _ := f.request("list"); response.StatusCode != status {
			t.Errorf("%s: %d %s\n%s", when, response.StatusCode, response.Body, log)
		}
	}
	want("without the secret", http.StatusServiceUnavailable)
	kept.Breaks(nil)
	want("with it", http.StatusOK)
	sql(`ALTER ROLE ` + role + ` PASSWORD 'two'`)
	kept.Rotate(role, "two")
	want("on the connection that there is", http.StatusOK)
	sql(`SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE usename = '` + role + `'`)
	want("on a new one", http.StatusOK)
}
