package upgrade

import (
	"database/sql"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	_ "github.com/lib/pq"
	"go.uber.org/goleak"

	"github.com/wafleet/wafleet/shared/e2e/deployment"
	"github.com/wafleet/wafleet/shared/pgtest"
	"github.com/wafleet/wafleet/shared/wasim"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(pgtest.Wrap(m)) }

// programs of a release that run beside those of another.
var programs = []string{"connector", "connector/guard", "functions/admin", "functions/api", "functions/migrate", "functions/sweep"}

// TestUpgradeAndRollback goes the way of a deployment and back, with sessions that
// work all the time, half of them with devices in files, half in the database.
func TestUpgradeAndRollback(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("builds two releases")
	}
	old, new := "previous", "this"
	f := newFleet(t, map[string]string{old: deployment.Build(t, sourceOf(t, previousRelease), programs...), new: deployment.Build(t, root, programs...)})

	f.once(old, "migrate")
	f.watch()
	f.api.Key = deployment.NewKey(t, f.releases[old], f.url, "acme")
	api := f.serve(old)
	one, other := f.join(old), f.join(old)
	for range 4 {
		f.link()
	}

	t.Log("this release's schema, below the previous release's programs")
	t.Logf("migrations: %s", f.once(new, "migrate"))
	f.goesOn()
	f.heartbeats(2)
	other.dies()
	other = f.join(old)
	f.goesOn()
	f.once(old, "sweep")

	t.Log("this release's connectors, beside the previous ones and alone")
	third, fourth := f.join(new), f.join(new)
	f.goesOn()
	f.leave(one, other)
	f.heldBy(third, fourth)
	f.goesOn()
	f.link()

	t.Log("this release's API")
	f.end(api)
	api = f.serve(new)
	f.goesOn()
	f.once(new, "sweep")
	f.link()

	t.Log("back: connectors and API of the previous release, on this release's schema")
	one, other = f.join(old), f.join(old)
	f.leave(third, fourth)
	f.heldBy(one, other)
	f.end(api)
	api = f.serve(old)
	f.goesOn()
	f.once(old, "sweep")
	f.link()
	f.leave(one, other)
	f.end(api)
}

// fleet is one deployment, of programs of two releases.
type fleet struct {
	*testing.T
	releases map[string]string // directory with the programs, by release
	url      string
	db       *sql.DB
	sim      *wasim.Server
	env      []string // of connectors
	api      deployment.API
	sessions []string
}

func newFleet(t *testing.T, releases map[string]string) *fleet {
	t.Helper()
	f := &fleet{T: t, releases: releases, url: pgtest.New(t, nil), sim: &wasim.Server{FewPreKeys: true}}
	var err error
	if f.db, err = sql.Open("postgres", f.url); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.db.Close() })
	if err := f.sim.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if n := f.sim.Stats().MaxSocketsPerDevice; n != 1 {
			t.Errorf("a device was logged in %d times at once", n)
		}
		f.sim.Close()
	})
	data := t.TempDir()
	ca := filepath.Join(data, "ca.pem")
	if err := os.WriteFile(ca, f.sim.CAPEM(), 0o600); err != nil {
		t.Fatal(err)
	}
	f.env = []string{
		"DATABASE_URL=" + f.url, "DATA_DIR=" + data, "LISTEN=127.0.0.1:0", "LEASE_TTL=15s",
		"WHATSAPP_DIAL_ADDR=" + f.sim.DialAddr(), "WHATSAPP_TLS_CA=" + ca, "WHATSAPP_NOISE_ROOT_KEY=" + f.sim.RootKeyHex(),
	}
	f.api = deployment.API{TB: t}
	return f
}

func (f *fleet) program(release, name string, args ...string) *exec.Cmd {
	command := exec.Command(filepath.Join(f.releases[release], name), args...)
	command.Env = []string{"DATABASE_URL=" + f.url, "SQLITE_AVAILABLE=true"}
	return command
}

// once runs a program to its end, which must be a good one.
func (f *fleet) once(release, name string) (said string) {
	f.Helper()
	p := deployment.Start(f, f.program(release, name))
	if code := p.Wait(); code != 0 {
		f.Fatalf("%s of the %s release ends with %d:\n%s", name, release, code, p.Log())
	}
	return strings.TrimSpace(p.Log())
}

// serve starts an API and speaks to it from now on.
func (f *fleet) serve(release string) *deployment.Program {
	f.Helper()
	p := deployment.Start(f, f.program(release, "api", "-listen", "127.0.0.1:0"))
	f.api.URL = "http://" + p.Await(`"msg":"listening","address":"([^"]+)"`)
	return p
}

// member is a connector below its guard.
type member struct {
	*deployment.Program
	id string
}

func (f *fleet) join(release string) member {
	f.Helper()
	command := f.program(release, "guard", filepath.Join(f.releases[release], "connector"))
	command.Env = f.env
	p := deployment.Start(f, command)
	said := p.Await(`[^\n]*"msg":"connector registered"[^\n]*`)
	return member{p, regexp.MustCompile(`"connector":"([^"]+)"`).FindStringSubmatch(said)[1]}
}

// dies kills the connector below the guard, which ends its lease.
func (m member) dies() {
	m.Helper()
	children := m.Children()
	if len(children) == 0 { // not on Linux: its lease has to pass
		m.Kill()
		return
	}
	if err := syscall.Kill(children[0], syscall.SIGKILL); err != nil {
		m.Fatal(err)
	}
	if code := m.Wait(); code != 128+9 {
		m.Errorf("the guard of a connector that was killed ends with %d", code)
	}
	m.Await("the connector is gone; its lease is ended")
}

// leave ends connectors as a deployment does, and looks at what they said.
func (f *fleet) leave(members ...member) {
	f.Helper()
	for _, m := range members {
		f.end(m.Program)
	}
}

// end expects a good end, and a log without errors but those of the client library,
// which does not know why its term ends.
func (f *fleet) end(p *deployment.Program) {
	f.Helper()
	if code := p.End(); code != 0 {
		f.Errorf("a program ends with %d", code)
	}
	for line := range strings.Lines(p.Log()) {
		if strings.Contains(line, `"module":"whatsmeow/`) {
			continue
		}
		if strings.Contains(line, `"level":"ERROR"`) || strings.Contains(line, "panic") || strings.Contains(line, "SQLSTATE") {
			f.Errorf("a program says %s", line)
		}
	}
}

// link makes another session and lets a phone scan it.
func (f *fleet) link() {
	f.Helper()
	n := len(f.sessions)
	name := fmt.Sprint("session-", n)
	config := []string{`{}`, `{"store":{"dialect":"postgres"}}`}[n%2]
	f.api.Link(name, config, func(code string) error {
		_, err := f.sim.Scan(fmt.Sprint(5511999990000+n), code)
		return err
	})
	f.sessions = append(f.sessions, name)
}

// goesOn uses what the API has for every session; all work in the end, and none has
// failed in between.
func (f *fleet) goesOn() {
	f.Helper()
	for i, name := range f.sessions {
		f.api.Await(name, "WORKING")
		switch i % 3 {
		case 0:
			f.api.Want("POST", "/api/sessions/"+name+"/stop", "")
			f.api.Await(name, "STOPPED")
			f.api.Want("POST", "/api/sessions/"+name+"/start", "")
		case 1:
			f.api.Want("POST", "/api/sessions/"+name+"/restart", "")
		}
	}
	for _, name := range f.sessions {
		f.api.Await(name, "WORKING")
	}
	if status, _ := f.api.Call("GET", "/api/sessions?all=true", ""); status != 200 {
		f.Errorf("the list answers %d", status)
	}
	if failed := f.text(`SELECT coalesce(string_agg(what, ', '), '') FROM seen_failed`); failed != "" {
		f.Errorf("sessions have failed: %s", failed)
	}
}

// watch lets the database note every session that fails, however shortly.
func (f *fleet) watch() {
	f.Helper()
	for _, statement := range []string{
		`CREATE TABLE seen_failed (what text)`,
		`CREATE FUNCTION note_failed() RETURNS trigger LANGUAGE plpgsql AS $$
			BEGIN INSERT INTO seen_failed VALUES (NEW.session_id || ' ' || coalesce(NEW.reason_code, '')); RETURN NULL; END $$`,
		`CREATE TRIGGER note_failed AFTER UPDATE ON session_run FOR EACH ROW WHEN (NEW.state = 'FAILED') EXECUTE FUNCTION note_failed()`,
	} {
		if _, err := f.db.ExecContext(f.Context(), statement); err != nil {
			f.Fatal(err)
		}
	}
}

func (f *fleet) text(query string, args ...any) (text string) {
	f.Helper()
	if err := f.db.QueryRowContext(f.Context(), query, args...).Scan(&text); err != nil {
		f.Fatal(err)
	}
	return text
}

// heartbeats waits until so many leases have been renewed from now on.
func (f *fleet) heartbeats(members int) {
	f.Helper()
	now := f.text(`SELECT now()::text`)
	f.eventually(fmt.Sprintf("%d heartbeats", members), func() bool {
		return f.text(`SELECT count(*)::text FROM connector WHERE lease_until > $1::timestamptz + interval '15 s'`, now) == fmt.Sprint(members)
	})
}

// heldBy waits until every session is held by one of these, and works.
func (f *fleet) heldBy(members ...member) {
	f.Helper()
	f.eventually("the takeover", func() bool {
		held := 0
		for _, m := range members {
			var n int
			if _, err := fmt.Sscan(f.text(`SELECT count(*)::text FROM session_run WHERE holder = $1 AND state = 'WORKING'`, m.id), &n); err != nil {
				f.Fatal(err)
			}
			held += n
		}
		return held == len(f.sessions)
	})
}

func (f *fleet) eventually(what string, holds func() bool) {
	f.Helper()
	for deadline := time.Now().Add(deployment.Patience); !holds(); {
		if time.Now().After(deadline) {
			f.Fatalf("%s: not within %v", what, deployment.Patience)
		}
		select {
		case <-time.After(50 * time.Millisecond):
		case <-f.Context().Done():
		}
	}
}
