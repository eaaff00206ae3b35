package e2e

import (
	"testing"

	"github.com/wafleet/wafleet/shared/session"
)

// TestARollingReplacementFailsNoSession: three connectors of three are replaced,
// each by a new one that comes first, as a deployment does it.
func TestARollingReplacementFailsNoSession(t *testing.T) {
	t.Parallel()
	const sessions, fleet = 12, 3
	s := newSystem(t, options{})
	var old []*process
	for range fleet {
		old = append(old, s.connector())
	}
	pairMany(s, sessions)
	s.start("waits", postgresStart)
	s.wait("waits", session.ScanQRCode)
	s.allWorking(sessions)
	before, since := s.logins(), s.sim.LastSeq()

	var survivors []*process
	for _, leaving := range old {
		survivors = append(survivors, s.connector())
		if code := leaving.end(); code != 0 {
			t.Errorf("exit code %d", code)
		}
		s.allWorking(sessions)
	}
	s.wait("waits", session.ScanQRCode)
	if moves := s.logins() - before; moves < sessions || moves > fleet*sessions {
		t.Errorf("%d logins for %d sessions that moved 1 to %d times", moves, sessions, fleet)
	}
	if moved, paired := len(loginsIn(s.sim.Events(), since)), s.sim.Stats().Paired; moved != sessions || paired != sessions {
		t.Errorf("%d of %d sessions have moved, after %d pairings", moved, sessions, paired)
	}
	t.Logf("gaps %v", spreadOfGaps(gapsIn(s.sim.Events(), since)))
	s.invariants(survivors...)
}
