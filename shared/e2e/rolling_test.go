package e2e

import (
	"slices"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/wafleet/wafleet/shared/session"
	"github.com/wafleet/wafleet/shared/wasim"
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
	before := s.logins()

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
	s.invariants(survivors...)
}

// frozenAway is how long a connector is frozen: twice as long as the lease that
// production has.
const frozenAway = 30 * time.Second

// TestAConnectorThatIsFrozenForHalfAMinute: with production's lease its sessions
// are elsewhere before it thaws, and then it sends nothing and changes nothing.
func TestAConnectorThatIsFrozenForHalfAMinute(t *testing.T) {
	t.Parallel()
	const sessions = 4
	s := newSystem(t, options{})
	first := s.connector()
	pairMany(s, sessions)
	s.allWorking(sessions)
	s.eventually("the phones' keys", func() bool {
		return !slices.ContainsFunc(s.sim.Devices(), func(d wasim.DeviceInfo) bool { return d.Queued > 0 })
	})
	frozen, _ := first.registered()
	second := s.connector("REBALANCE_PER_SECOND=0")

	first.signal(syscall.SIGSTOP)
	began := time.Now()
	const elsewhere = `SELECT count(*) FROM session_run WHERE state = 'WORKING' AND holder <> '`
	s.eventuallyWithin(frozenAway, "the sessions elsewhere", func() bool { return s.rows(elsewhere+string(frozen)+`'`) == sessions })
	took := time.Since(began)
	s.pass(frozenAway - took)
	before, late := s.deviceRows(), s.sim.Stats().LateFrames
	first.signal(syscall.SIGCONT)
	first.waitFor("every session is given up")
	first.restarted(frozen)
	if diff := cmp.Diff(before, s.deviceRows()); diff != "" {
		t.Errorf("the thawed connector changed rows of devices:\n%s", diff)
	}
	if n := s.sim.Stats().LateFrames - late; n != 0 {
		t.Errorf("%d late frames", n)
	}
	if took > 20*time.Second {
		t.Errorf("the sessions were back after %v, want 20 s at the most", took)
	}
	s.invariants(first, second)
}
