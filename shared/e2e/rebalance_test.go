package e2e

import (
	"fmt"
	"testing"
	"time"

	"github.com/wafleet/wafleet/shared/session"
)

// TestAConnectorThatJoinsGetsItsShare: sessions that work move to it one by one,
// each at most once, and one that waits for a scan stays where it is.
func TestAConnectorThatJoinsGetsItsShare(t *testing.T) {
	t.Parallel()
	const sessions = 12
	const quick = "REBALANCE_PER_SECOND=10"
	s := newSystem(t, options{})
	stays := s.connector(quick)
	pairMany(s, sessions)
	s.start("waits", postgresStart)
	s.wait("waits", session.ScanQRCode)
	s.allWorking(sessions)
	first := s.get("waits").text("assignedWorker")
	before := s.logins()

	second := s.connector(quick)
	const mine = `SELECT count(*) FROM session_run WHERE holder IS NOT NULL AND holder <> (SELECT min(holder) FROM session_run)`
	s.eventually("an even spread", func() bool {
		n := s.rows(mine)
		return n == (sessions+1)/2 || n == (sessions+2)/2
	})
	s.allWorking(sessions)
	if now := s.get("waits"); now.text("status") != string(session.ScanQRCode) || now.text("assignedWorker") != first {
		t.Errorf("the session that waits for a scan moved: %s", now.body)
	}
	moves := s.logins() - before
	if moves != sessions/2 && moves != (sessions+1)/2 {
		t.Errorf("%d logins for a move of %d sessions", moves, sessions/2)
	}
	if n := s.rows(`SELECT max(epoch) FROM session_run`); n != 2 {
		t.Errorf("a session has moved %d times", n-1)
	}

	// When one leaves, everything is back where it was.
	if code := second.end(); code != 0 {
		t.Errorf("exit code %d", code)
	}
	s.allWorking(sessions)
	s.invariants(stays)
}

// logins is how many logins the simulator has accepted.
func (s *system) logins() int { return s.sim.Stats().Logins }

// TestTheLastSignOfLifeIsShown: it grows with the keepalives, and tells of
// silence.
func TestTheLastSignOfLifeIsShown(t *testing.T) {
	t.Parallel()
	s := newSystem(t, options{})
	s.connector("LEASE_TTL=3s", "WHATSAPP_KEEPALIVE=500ms", "WHATSAPP_KEEPALIVE_DEADLINE=1s")
	jid := s.pair("a", "5511999990410", postgresStart)
	seen := func() time.Time {
		t.Helper()
		at, err := time.Parse(time.RFC3339Nano, fmt.Sprint(s.get("a").fields["lastSeenAlive"]))
		if err != nil {
			t.Fatal(err)
		}
		return at
	}
	first := seen()
	s.eventually("a later sign of life without a change of state", func() bool { return seen().Sub(first) > 2*time.Second })
	if n := s.get("a").fields["reconnectsLastHour"]; n != 0.0 {
		t.Errorf("%v reconnects", n)
	}
	if _, err := s.sim.Drop(jid, "fin"); err != nil {
		t.Fatal(err)
	}
	s.eventually("a reconnect", func() bool { return s.get("a").fields["reconnectsLastHour"] == 1.0 })
	s.wait("a", session.Working)
	if n := s.get("a").fields["reconnectsLastHour"]; n != 1.0 {
		t.Errorf("%v reconnects", n)
	}
}
