package e2e

import (
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/wafleet/wafleet/shared/e2e/link"
	"github.com/wafleet/wafleet/shared/session"
)

func TestAShortLossOfTheDatabaseTouchesNoSession(t *testing.T) {
	t.Parallel()
	s := newSystem(t, options{})
	l, way := link.ToDatabase(t, s.url)
	c := s.connector("DATABASE_URL="+way, "LEASE_TTL=9s") // trusted for 6 s after a beat, beats every 2.4 s
	s.pair("a", "5511999990401", postgresStart)
	worker, logins := s.get("a").text("assignedWorker"), s.sim.Stats().Logins
	l.Cut()
	c.waitFor("the lease was not renewed")
	l.Restore()
	s.start("b", "")
	s.wait("b", session.ScanQRCode) // the connector works again
	s.wait("a", session.Working)
	if s.get("a").text("assignedWorker") != worker || s.sim.Stats().Logins != logins {
		t.Error("the session was moved or connected again")
	}
	s.invariants(c)
}

// TestFiveSilentSecondsOfTheDatabaseTouchNoSession: Postgres swallows what it is
// told, at production's lease, wherever between two heartbeats that begins.
func TestFiveSilentSecondsOfTheDatabaseTouchNoSession(t *testing.T) {
	t.Parallel()
	const lease, silence = 15 * time.Second, 5 * time.Second
	beside(t, map[string]time.Duration{"at once": 0, "after a second": time.Second, "after two": 2 * time.Second, "after three": 3 * time.Second}, func(t *testing.T, after time.Duration) {
		s := newSystem(t, options{})
		l, way := link.ToDatabase(t, s.url)
		c := s.connector("DATABASE_URL=" + way)
		s.pair("a", "5511999990406", postgresStart)
		s.pair("b", "5511999990407", documentedStart)
		// A moment between two beats, from the last one on.
		s.eventually("a heartbeat", func() bool {
			return s.rows(`SELECT count(*) FROM connector WHERE lease_until > now() + interval '14800 milliseconds'`) == 1
		})
		s.pass(after)
		terms, logins, open := s.terms(), s.logins(), s.sockets()

		began := time.Now()
		l.Swallow()
		s.pass(silence)
		l.Restore()
		if took := time.Since(began); took > silence+500*time.Millisecond {
			s.invariants(c)
			t.Skipf("this machine is so busy that %v of silence took %v", silence, took)
		}
		s.eventuallyWithin(lease, "a heartbeat that arrives", func() bool {
			return s.rows(`SELECT count(*) FROM connector WHERE lease_until > now() + interval '14 seconds'`) == 1
		})
		if now := s.terms(); now != terms || s.logins() != logins || !slices.Equal(s.sockets(), open) {
			t.Errorf("%d more logins, connections %v, were %v; held were\n%s\nand are\n%s", s.logins()-logins, s.sockets(), open, terms, now)
		}
		if text := c.log.String(); strings.Contains(text, "every session is given up") {
			t.Error("the lease was lost")
		}
		s.invariants(c)
	})
}

func TestALongLossOfTheDatabaseEndsEverySocketInTime(t *testing.T) {
	t.Parallel()
	for name, lose := range map[string]func(*link.Link){"cut": (*link.Link).Cut, "black hole": (*link.Link).Swallow} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newSystem(t, options{})
			l, way := link.ToDatabase(t, s.url)
			c := s.connector("DATABASE_URL="+way, shortLease)
			s.pair("a", "5511999990411", postgresStart)
			s.pair("b", "5511999990412", documentedStart)
			s.pair("off", "5511999990413", documentedStart)
			worker := s.get("a").text("assignedWorker")
			lose(l)
			s.stop("off")
			c.waitFor("every session is given up")
			s.eventually("the end of the sockets", func() bool { return s.sim.Stats().Open == 0 })
			s.wait("a", session.Starting)
			l.Restore()
			s.wait("a", session.Working)
			s.wait("b", session.Working)
			if s.get("a").text("assignedWorker") == worker {
				t.Error("the connector goes on under the id whose lease it lost")
			}
			s.invariants(c)
			if code := c.end(); code != 0 {
				t.Errorf("exit code %d", code)
			}
		})
	}
}

func TestASlowDatabaseOnlySlowsDown(t *testing.T) {
	t.Parallel()
	s := newSystem(t, options{})
	l, way := link.ToDatabase(t, s.url)
	s.connector("DATABASE_URL=" + way)
	l.Spoil("latency", "downstream", `{"latency":150,"jitter":50}`)
	s.pair("a", "5511999990421", documentedStart)
	s.stop("a")
	s.eventually("the end of the socket", func() bool { return s.sim.Stats().Open == 0 })
}

func TestAConnectorWaitsForItsDatabase(t *testing.T) {
	t.Parallel()
	s := newSystem(t, options{})
	l, way := link.ToDatabase(t, s.url)
	l.Cut()
	c := s.launch("DATABASE_URL=" + way)
	c.waitFor("not ready yet")
	if _, err := net.Dial("tcp", l.Address()); err == nil {
		t.Fatal("the link is not cut")
	}
	l.Restore()
	s.start("a", "")
	s.wait("a", session.ScanQRCode)
}
