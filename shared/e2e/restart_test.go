package e2e

import (
	"context"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/wafleet/wafleet/shared/pgserver"
	"github.com/wafleet/wafleet/shared/session"
)

// postgres is a server that belongs to one test, which may stop it and start
// it again. It keeps what it has committed, as production's.
type postgres struct {
	testing.TB
	config pgserver.Config
	server *pgserver.Server
	url    string // of a migrated database
}

func newPostgres(t testing.TB) *postgres {
	t.Helper()
	dir := t.TempDir()
	// The account that runs Postgres must reach its data.
	if err := os.Chmod(filepath.Dir(dir), 0o755); err != nil {
		t.Fatal(err)
	}
	p := &postgres{TB: t, config: pgserver.Config{DataDir: filepath.Join(dir, "data"), MaxConnections: 60}}
	p.start()
	t.Cleanup(func() { p.server.Stop(context.WithoutCancel(t.Context())) })
	p.url = p.server.URL("")
	u, err := url.Parse(p.url)
	if err != nil {
		t.Fatal(err)
	}
	if p.config.Port, err = strconv.Atoi(u.Port()); err != nil {
		t.Fatal(err)
	}
	if err := migrate(t.Context(), p.url); err != nil {
		t.Fatal(err)
	}
	return p
}

func (p *postgres) start() {
	p.Helper()
	var err error
	if p.server, err = pgserver.Start(p.Context(), p.config); err != nil {
		p.Fatal(err)
	}
}

// shutdowns are how an administrator ends a Postgres, by the signals in its
// manual: fast closes every connection in order, immediate is a crash that
// recovers at the next start.
var shutdowns = map[string]syscall.Signal{"fast": syscall.SIGINT, "immediate": syscall.SIGQUIT}

// stop ends the server and returns when it is gone.
func (p *postgres) stop(how syscall.Signal) {
	p.Helper()
	lines, err := os.ReadFile(filepath.Join(p.config.DataDir, "postmaster.pid"))
	if err != nil {
		p.Fatal(err)
	}
	first, _, _ := strings.Cut(string(lines), "\n")
	pid, err := strconv.Atoi(first)
	if err != nil {
		p.Fatal(err)
	}
	if err := syscall.Kill(pid, how); err != nil {
		p.Fatal(err)
	}
	<-p.server.Done()
	if err := p.server.Stop(p.Context()); err != nil {
		p.Logf("the server said at its end: %v", err)
	}
}

// refuses checks that the API says "later" while its database is away.
func (s *system) refuses() {
	s.Helper()
	for path, method := range map[string]string{"/api/sessions/a": "GET", "/api/sessions/new/start": "POST", "/api/sessions/a/stop": "POST"} {
		refused := s.want(503, method, path, "")
		if seconds, err := strconv.Atoi(refused.header.Get("Retry-After")); err != nil || seconds < 1 {
			s.Errorf("%s %s says to come back after %q", method, path, refused.header.Get("Retry-After"))
		}
	}
}

// sockets returns the ids of the open connections.
func (s *system) sockets() []uint64 {
	var ids []uint64
	for _, c := range s.sim.Connections() {
		ids = append(ids, c.ID)
	}
	return ids
}

func TestAShortRestartOfPostgresTouchesNoSession(t *testing.T) {
	t.Parallel()
	beside(t, shutdowns, func(t *testing.T, how syscall.Signal) {
		p := newPostgres(t)
		s := newSystem(t, options{url: p.url})
		c := s.connector("LEASE_TTL=30s") // trusted for 11 s at least
		s.pair("a", "5511999990511", postgresStart)
		s.pair("b", "5511999990512", documentedStart)
		worker, logins, open := s.get("a").text("assignedWorker"), s.sim.Stats().Logins, s.sockets()

		p.stop(how)
		stopped := time.Now()
		s.refuses()
		c.waitFor("the database could not be looked at")
		s.eventually("5 s without a database", func() bool { return time.Since(stopped) > 5*time.Second })
		s.refuses()
		if got := s.sockets(); !slices.Equal(got, open) {
			t.Errorf("connections %v are open, want %v", got, open)
		}
		p.start()

		s.start("c", "")
		s.wait("c", session.ScanQRCode)
		s.scan("c", "5511999990513")
		for _, one := range []string{"a", "b"} {
			if seen := s.get(one); seen.text("status") != "WORKING" || seen.text("assignedWorker") != worker || seen.reason() != "" {
				t.Errorf("session %s", seen.body)
			}
		}
		if got := s.sockets(); len(got) != 3 || !slices.Equal(got[:2], open) || s.sim.Stats().Logins != logins+1 {
			t.Errorf("connections %v are open, were %v; %d logins, want %d", got, open, s.sim.Stats().Logins, logins+1)
		}
		s.stop("a")
		s.eventually("the end of a's socket", func() bool { return !slices.Contains(s.sockets(), open[0]) })
		s.invariants(c)
		if code := c.end(); code != 0 {
			t.Errorf("exit code %d", code)
		}
	})
}

func TestALongStopOfPostgresEndsEverySocketInTime(t *testing.T) {
	t.Parallel()
	beside(t, shutdowns, func(t *testing.T, how syscall.Signal) {
		p := newPostgres(t)
		s := newSystem(t, options{url: p.url})
		first, second := s.connector(shortLease), s.connector(shortLease)
		s.pair("a", "5511999990521", postgresStart)
		s.pair("b", "5511999990522", documentedStart)
		s.start("c", "")
		s.wait("c", session.ScanQRCode)

		before := map[string]string{}
		for _, one := range []string{"a", "b", "c"} {
			before[one] = s.get(one).text("assignedWorker")
		}
		p.stop(how)
		s.eventually("the end of the sockets", func() bool { return s.sim.Stats().Open == 0 })
		first.waitFor("every session is given up")
		second.waitFor("every session is given up")
		s.refuses()
		p.start()

		for one, status := range map[string]session.Status{"a": session.Working, "b": session.Working, "c": session.ScanQRCode} {
			// Until the old leases pass, the rows say what was.
			s.eventually(one+" under a new lease", func() bool {
				seen := s.get(one)
				return seen.text("status") == string(status) && seen.text("assignedWorker") != before[one]
			})
		}
		s.scan("c", "5511999990523")
		s.noCodesLeft()
		s.invariants(first, second)
		for _, c := range []*process{first, second} {
			if code := c.end(); code != 0 {
				t.Errorf("exit code %d", code)
			}
		}
	})
}
