package main

import (
	"context"
	"fmt"
	"net/http"
	"os/exec"
	"strings"
	"syscall"
	"testing"

	"go.uber.org/goleak"

	"github.com/wafleet/wafleet/shared/apikey"
	"github.com/wafleet/wafleet/shared/e2e/bootstrap"
	"github.com/wafleet/wafleet/shared/pgtest"
	"github.com/wafleet/wafleet/shared/schema"
	"github.com/wafleet/wafleet/shared/store"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(pgtest.Wrap(m)) }

// exampleKey is the key in the event files.
const exampleKey = "wafleet-example-key"

func migrate(ctx context.Context, url string) error { return schema.Migrate(ctx, url, nil) }

// database is migrated and has one tenant with the example key.
func database(t *testing.T) (url string) {
	t.Helper()
	url = pgtest.New(t, migrate)
	opened, err := store.Open(url, store.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer opened.Close()
	tenant, err := opened.CreateTenant(t.Context(), "acme")
	if err != nil {
		t.Fatal(err)
	}
	id, hash, err := apikey.Parse(exampleKey)
	if err != nil {
		t.Fatal(err)
	}
	if err := opened.AdmitKey(t.Context(), tenant, store.NewKey{ID: id, Hash: hash[:], Name: "example", Scope: store.ScopeAdmin}); err != nil {
		t.Fatal(err)
	}
	return url
}

func TestListenServesUntilSIGTERM(t *testing.T) {
	t.Parallel()
	program := exec.Command(bootstrap.Build(t, "lambda.norpc"), "-listen", "127.0.0.1:0")
	out := &bootstrap.Output{}
	program.Stdout, program.Stderr = out, out
	program.Env = []string{"DATABASE_URL=" + database(t), "DATA_DIR=/somewhere", "CORS_ORIGINS=https://app.test"}
	if err := program.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { program.Process.Kill() })
	address := out.Await(t, `"msg":"listening","address":"([^"]+)"`, nil)
	client := &http.Client{Transport: &http.Transport{}}
	defer client.CloseIdleConnections()
	ask := func(path string) int {
		t.Helper()
		request, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://"+address+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		request.Header.Set("apikey", exampleKey)
		request.Header.Set("Origin", "https://app.test")
		response, err := client.Do(request)
		if err != nil {
			t.Fatal(err)
		}
		response.Body.Close()
		if allowed := response.Header.Get("Access-Control-Allow-Origin"); allowed != "https://app.test" {
			t.Errorf("%s: allowed origin %q", path, allowed)
		}
		return response.StatusCode
	}
	if code := ask("/api/sessions/a/start"); code != http.StatusCreated {
		t.Errorf("start: %d", code)
	}
	if code := ask("/api/harness/panic"); code != http.StatusNotFound {
		t.Errorf("a release has the harness's route: %d", code)
	}
	// A request in flight is answered: it waits 5 s for a QR code of a session that nobody claims.
	inFlight := make(chan string, 1)
	go func() { inFlight <- slowRequest(client, "http://"+address+"/api/a/auth/qr") }()
	awaitInFlight(t, program.Env[0])
	if err := program.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if got := <-inFlight; got != "422" {
		t.Errorf("the request in flight: %s", got)
	}
	if err := program.Wait(); err != nil {
		t.Errorf("exit: %v\n%s", err, out)
	}
	if strings.Contains(out.String(), exampleKey) {
		t.Error("the key is in the log")
	}
}

func slowRequest(client *http.Client, url string) string {
	request, err := http.NewRequest(http.MethodGet, url, nil)
	if err != nil {
		return err.Error()
	}
	request.Header.Set("apikey", exampleKey)
	response, err := client.Do(request)
	if err != nil {
		return err.Error()
	}
	response.Body.Close()
	return fmt.Sprint(response.StatusCode)
}

// awaitInFlight returns when the program has read the pairing of a session.
func awaitInFlight(t *testing.T, databaseURL string) {
	t.Helper()
	opened, err := store.Open(strings.TrimPrefix(databaseURL, "DATABASE_URL="), store.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer opened.Close()
	const reading = `SELECT count(*) FROM pg_stat_activity WHERE application_name = 'wafleet-api' AND query LIKE '%JOIN pairing%'`
	for n := 0; n == 0; {
		if err := opened.DB().QueryRowContext(t.Context(), reading).Scan(&n); err != nil {
			t.Fatal(err)
		}
	}
}

func TestWrongUse(t *testing.T) {
	t.Parallel()
	program := bootstrap.Build(t, "lambda.norpc")
	for name, one := range map[string]struct {
		args, env []string
		says      []string
		not       string
	}{
		"no Lambda":    {says: []string{"usage", "-listen"}},
		"odd flag":     {args: []string{"-what"}, says: []string{"-what"}},
		"odd argument": {args: []string{"what"}, says: []string{"usage"}},
		"everything wrong": {
			args: []string{"-listen", "127.0.0.1:0"},
			env:  []string{"DATABASE_URL=mysql://u:hidden-1@h/x", "DEFAULT_STORE_DIALECT=hidden-2", "SQLITE_AVAILABLE=hidden-3", "LOG_LEVEL=hidden-4", "DATABASE_MAX_OPEN=hidden-5", "CORS_ORIGINS=https://a.test, a.test/"},
			says: []string{"DATABASE_URL must be", "DEFAULT_STORE_DIALECT must be", "SQLITE_AVAILABLE must be true or false", "LOG_LEVEL must be one of", "DATABASE_MAX_OPEN must be a whole number", `CORS_ORIGINS has entries that are no origin such as https://app.example.com: "a.test/"`},
			not:  "hidden-",
		},
		"the configuration": {
			args: []string{"-print-config"}, env: []string{"DATABASE_URL=postgres://u:hidden@h/x"},
			says: []string{"DATABASE_URL", "postgres://u:xxxxx@h/x", "RATE_LIMIT_BURST", "DATABASE_URL must say sslmode"}, not: "hidden",
		},
		"wrong keys": {
			args: []string{"-listen", "127.0.0.1:0"},
			env:  []string{"DATABASE_URL=postgres://u@h/x?sslmode=disable", "SECRETS_KEY_FILE=/dev/null", "SECRETS_KMS_KEY=hidden"},
			says: []string{"SECRETS_KEY_FILE and SECRETS_KMS_KEY must not", "SECRETS_KEY_FILE: the key file /dev/null is not", "SECRETS_KMS_KEY must be"},
			not:  "hidden",
		},
		"no database": {args: []string{"-listen", "127.0.0.1:0"}, says: []string{"DATABASE_URL"}},
		"no sslmode":  {args: []string{"-listen", "127.0.0.1:0"}, env: []string{"DATABASE_URL=postgres://u:hidden@h/x"}, says: []string{"sslmode"}, not: "hidden"},
		"odd limits": {
			args: []string{"-listen", "127.0.0.1:0"},
			env:  []string{"DATABASE_URL=postgres://u@h/x?sslmode=disable", "RATE_LIMIT_PER_SECOND=-1", "SESSION_QUOTA=-1"},
			says: []string{"RATE_LIMIT_PER_SECOND must be", "SESSION_QUOTA must not"},
		},
		"no burst": {
			args: []string{"-listen", "127.0.0.1:0"},
			env:  []string{"DATABASE_URL=postgres://u@h/x?sslmode=disable", "RATE_LIMIT_BURST=0"}, says: []string{"RATE_LIMIT_BURST must be"},
		},
		"no number": {
			args: []string{"-listen", "127.0.0.1:0"},
			env:  []string{"DATABASE_URL=postgres://u@h/x?sslmode=disable", "RATE_LIMIT_PER_SECOND=NaN", "RATE_LIMIT_BURST=hidden"}, says: []string{"RATE_LIMIT_PER_SECOND must be", "RATE_LIMIT_BURST must be a whole number"}, not: "hidden",
		},
		"negative pool": {args: []string{"-listen", "127.0.0.1:0"}, env: []string{"DATABASE_URL=postgres://u@h/x?sslmode=disable", "DATABASE_MAX_OPEN=-1"}, says: []string{"DATABASE_MAX_OPEN"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			command := exec.Command(program, one.args...)
			command.Env = one.env
			if command.Env == nil {
				command.Env = []string{}
			}
			out, err := command.CombinedOutput()
			if command.ProcessState.ExitCode() != 2 {
				t.Errorf("exit: %v", err)
			}
			for _, text := range one.says {
				if !strings.Contains(string(out), text) {
					t.Errorf("%q is not in %s", text, out)
				}
			}
			if one.not != "" && strings.Contains(string(out), one.not) {
				t.Errorf("a value is repeated: %s", out)
			}
		})
	}
}
