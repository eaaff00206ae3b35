package main

import (
	"bytes"
	"context"
	"encoding/json"
	"os/exec"
	"regexp"
	"strings"
	"testing"

	"go.uber.org/goleak"

	"github.com/wafleet/wafleet/functions/access"
	"github.com/wafleet/wafleet/shared/e2e/bootstrap"
	"github.com/wafleet/wafleet/shared/pgtest"
	"github.com/wafleet/wafleet/shared/schema"
	"github.com/wafleet/wafleet/shared/store"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(pgtest.Wrap(m)) }

func migrate(ctx context.Context, url string) error { return schema.Migrate(ctx, url, nil) }

// terminal runs the built program as a person does.
type terminal struct {
	*testing.T
	program, url string
	env          []string
}

func newTerminal(t *testing.T) *terminal {
	t.Helper()
	url := pgtest.New(t, migrate)
	return &terminal{T: t, program: bootstrap.Build(t, "lambda.norpc"), url: url, env: []string{"DATABASE_URL=" + url}}
}

func (s *terminal) run(args ...string) (out, notices string, code int) {
	s.Helper()
	command := exec.Command(s.program, args...)
	var stdout, stderr bytes.Buffer
	command.Stdout, command.Stderr, command.Env = &stdout, &stderr, append([]string{}, s.env...)
	_ = command.Run() // the exit code says it
	return stdout.String(), stderr.String(), command.ProcessState.ExitCode()
}

// ok runs a command that must succeed, and returns what it printed.
func (s *terminal) ok(args ...string) (out, notices string) {
	s.Helper()
	out, notices, code := s.run(args...)
	if code != 0 {
		s.Fatalf("%q: exit %d\n%s%s", args, code, out, notices)
	}
	return out, notices
}

// fails runs a command that must fail so, and says what to do.
func (s *terminal) fails(code int, says string, args ...string) {
	s.Helper()
	out, notices, got := s.run(args...)
	if got != code || out != "" || !strings.Contains(notices, says) {
		s.Errorf("%q: exit %d, want %d; says %q and %q, want %q", args, got, code, out, notices, says)
	}
}

// works tells whether the API would accept a key.
func (s *terminal) works(key string) bool {
	s.Helper()
	opened, err := store.Open(s.url, store.Options{})
	if err != nil {
		s.Fatal(err)
	}
	defer opened.Close()
	_, err = access.New(opened, access.Config{}).Authenticate(s.Context(), strings.TrimSpace(key))
	return err == nil
}

var keyPattern = regexp.MustCompile(`wf_([a-z2-7]{16})_([a-z2-7]{52})`)

func idOf(t *testing.T, text string) string {
	t.Helper()
	match := keyPattern.FindStringSubmatch(text)
	if match == nil {
		t.Fatalf("no key in %q", text)
	}
	return match[1]
}

func TestAnOperatorsDay(t *testing.T) {
	t.Parallel()
	s := newTerminal(t)
	if out, notices := s.ok("list-tenants"); out != "" || !strings.Contains(notices, "create-tenant") {
		t.Errorf("%q %q", out, notices)
	}
	if out, notices := s.ok("create-tenant", "--tenant", "acme & sons"); len(out) != 37 || !strings.Contains(notices, "--tenant 'acme & sons' --scope admin") {
		t.Errorf("%q %q", out, notices)
	}
	s.ok("create-tenant", "--tenant", "acme")
	s.fails(1, "choose another name", "create-tenant", "--tenant", "acme")

	secret, notices := s.ok("create-key", "--tenant", "acme", "--name", "ops", "--scope", "admin", "--expires-in", "24h")
	id := idOf(t, secret)
	if secret != keyPattern.FindString(secret)+"\n" || strings.Contains(notices, secret[20:]) || !strings.Contains(notices, "only this once") || !s.works(secret) {
		t.Errorf("%q %q", secret, notices)
	}
	listed, _ := s.ok("list-keys", "--tenant", "acme")
	if !regexp.MustCompile(`(?m)^` + id + ` +ops +admin +- +20\S+Z +operator +20\S+Z +20\S+Z +-$`).MatchString(listed) {
		t.Errorf("list-keys:\n%s", listed)
	}
	next, _ := s.ok("rotate-key", "--tenant", "acme", "--id", id)
	if s.works(secret) || !s.works(next) {
		t.Error("the rotation did nothing, or too much")
	}
	s.fails(1, "create-key makes another", "rotate-key", "--tenant", "acme", "--id", id)
	s.ok("set-quota", "--tenant", "acme", "--sessions", "5")
	if list, _ := s.ok("list-tenants"); !regexp.MustCompile(`(?m)^acme +0 +5 +1 `).MatchString(list) || !regexp.MustCompile(`(?m)^acme & sons +0 +default +0 `).MatchString(list) {
		t.Errorf("list-tenants:\n%s", list)
	}
	s.ok("set-quota", "--tenant", "acme", "--default")
	for range 2 {
		s.ok("revoke-key", "--tenant", "acme", "--id", idOf(t, next))
	}
	if s.works(next) {
		t.Error("a revoked key works")
	}
	s.fails(1, "list-keys", "revoke-key", "--tenant", "acme & sons", "--id", id)

	done, _ := s.ok("audit", "--tenant", "acme")
	lines := strings.Split(strings.TrimSpace(done), "\n")
	for i, action := range []string{"ACTION", "key.revoke", "tenant.quota", "tenant.quota", "key.rotate", "key.create", "tenant.create"} {
		if i >= len(lines) || !strings.Contains(lines[i], action) {
			t.Fatalf("line %d has no %s:\n%s", i, action, done)
		}
	}
	var page struct {
		Entries []struct{ Action, Subject string }
	}
	asJSON, _ := s.ok("audit", "--tenant", "acme", "--action", "key.rotate", "--json")
	if err := json.Unmarshal([]byte(asJSON), &page); err != nil || len(page.Entries) != 1 || page.Entries[0].Subject != id+" -> "+idOf(t, next) {
		t.Errorf("%s: %v", asJSON, err)
	}
	for _, text := range []string{listed, done, asJSON} {
		for _, one := range []string{secret, next} {
			if strings.Contains(text, keyPattern.FindStringSubmatch(one)[2]) {
				t.Error("a secret is shown twice")
			}
		}
	}
}

func TestJSONForPrograms(t *testing.T) {
	t.Parallel()
	s := newTerminal(t)
	s.ok("create-tenant", "--tenant", "acme", "--json")
	out, notices := s.ok("create-key", "--tenant", "acme", "--session", "a", "--json")
	var made map[string]any
	if err := json.Unmarshal([]byte(out), &made); err != nil || notices != "" {
		t.Fatalf("%s: %v, %q", out, err, notices)
	}
	if !s.works(made["key"].(string)) || made["scope"] != "session" || made["session"] != "a" || made["createdBy"] != "operator" || made["expiresAt"] != nil {
		t.Errorf("%v", made)
	}
}

func TestWrongUse(t *testing.T) {
	t.Parallel()
	s := newTerminal(t)
	s.ok("create-tenant", "--tenant", "acme")
	s.fails(2, "unexpected argument what", "what")
	s.fails(2, "--help", "create-key")
	s.fails(2, "--tenant", "create-key")
	s.fails(2, "unknown flag", "create-key", "--tenant", "acme", "--password", "k")
	s.fails(2, "unexpected argument", "create-key", "--tenant", "acme", "my-own-key-text-of-enough-length")
	s.fails(2, "--sessions", "set-quota", "--tenant", "acme")
	s.fails(2, "can't be used together", "set-quota", "--tenant", "acme", "--sessions", "1", "--default")
	s.fails(1, "create-tenant makes one", "create-key", "--tenant", "nobody")
	s.fails(1, "--scope must be admin, tenant, session or read", "create-key", "--tenant", "acme", "--scope", "root")
	s.fails(1, "--session is missing", "create-key", "--tenant", "acme", "--scope", "session")
	s.fails(1, "--expires-in must be", "create-key", "--tenant", "acme", "--expires-in=-1s")
	s.fails(1, "--expires-at must be in the future", "create-key", "--tenant", "acme", "--expires-at", "2001-01-01T00:00:00Z")
	s.fails(1, "--limit must be from 1 to 1000", "list-keys", "--tenant", "acme", "--limit", "1001")
	s.fails(1, "--offset must not be negative", "list-tenants", "--offset=-1")
	s.fails(1, "--limit must be", "audit", "--tenant", "acme", "--limit", "0")
	s.fails(1, "--sessions must be", "set-quota", "--tenant", "acme", "--sessions=-1")
	s.fails(1, "list-keys", "revoke-key", "--tenant", "acme", "--id", "wf_x")

	s.env = []string{"DATABASE_URL=postgres://u:hidden@127.0.0.1:1/x?sslmode=disable"}
	if table, _, code := s.run("--print-config"); code != 0 || !strings.Contains(table, "postgres://u:xxxxx@") || !strings.Contains(table, "SECRETS_KMS_KEY") {
		t.Errorf("exit %d\n%s", code, table)
	}
	s.env = []string{"LOG_LEVEL=loud"}
	s.fails(2, "DATABASE_URL is missing", "list-tenants")
	s.fails(2, "LOG_LEVEL must be", "list-tenants")
	s.env = []string{"DATABASE_URL=postgres://u:hidden@127.0.0.1:1/x?sslmode=disable"}
	s.fails(1, "check that DATABASE_URL is right", "list-tenants")
	s.env = []string{"DATABASE_URL=" + pgtest.New(t, nil)}
	s.fails(1, "run migrate", "list-tenants")
	if _, notices, _ := s.run("list-tenants"); strings.Contains(notices, "hidden") {
		t.Errorf("a value is repeated: %s", notices)
	}
}

// TestTheHelpOffersNoPassword: a key is made, never chosen or known beforehand.
func TestTheHelpOffersNoPassword(t *testing.T) {
	t.Parallel()
	s := &terminal{T: t, program: bootstrap.Build(t, "lambda.norpc"), env: []string{}}
	for _, args := range [][]string{{"--help"}, {"create-tenant", "--help"}, {"create-key", "--help"}, {"rotate-key", "--help"}} {
		out, _ := s.ok(args...)
		for _, word := range []string{"--password", "--secret", "--key", "--hash", "default password"} {
			if strings.Contains(strings.ToLower(out), word) {
				t.Errorf("%q offers %s:\n%s", args, word, out)
			}
		}
	}
}
