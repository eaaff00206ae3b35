package e2e

import (
	"fmt"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/wafleet/wafleet/shared/session"
	"github.com/wafleet/wafleet/shared/wasim"
)

// TestWhatTakesHalfAMinute runs, in the place of one test, what waits for as long
// as production does.
func TestWhatTakesHalfAMinute(t *testing.T) {
	t.Parallel()
	beside(t, map[string]func(*testing.T){
		"a freeze":                 testAFreeze,
		"a storm beyond the slots": testAStormBeyondTheSlots,
		"nobody has room":          testNobodyHasRoom,
	}, func(t *testing.T, test func(*testing.T)) { test(t) })
}

// testAFreeze: a connector is frozen for twice its lease, which is production's,
// and thaws when another holds its sessions. It sends nothing and changes nothing.
func testAFreeze(t *testing.T) {
	s := newSystem(t, options{sim: &wasim.Server{FinalDelay: neverCloses}})
	first := s.connector(still)
	names := []string{"a", "b", "c", "d"}
	for i, name := range names {
		s.pair(name, fmt.Sprint(5511999990581+i), []string{postgresStart, documentedStart}[i%2])
	}
	s.pair("off", "5511999990589", postgresStart)
	second := s.connector(still)
	held := s.get("a").text("assignedWorker")

	first.signal(syscall.SIGSTOP)
	frozen := time.Now()
	s.stop("off")
	for _, name := range names {
		s.runsOn(name, func(worker string) bool { return worker != held })
	}
	t.Logf("all are WORKING elsewhere %s after the freeze", seconds(time.Since(frozen)))
	s.pass(frozenFor - time.Since(frozen))
	before := s.deviceRows("session_run", "pairing")

	first.signal(syscall.SIGCONT)
	first.waitFor("every session is given up")
	first.restarted(session.ConnectorID(held))
	s.eventually("the end of the old sockets", func() bool { return s.sim.Stats().Open == len(names) })
	if diff := cmp.Diff(before, s.deviceRows("session_run", "pairing")); diff != "" {
		t.Errorf("the thawed connector changed rows:\n%s", diff)
	}
	s.invariants(first, second)
}

// testAStormBeyondTheSlots: who finds no room waits, is told so, and goes on when
// a connector joins.
func testAStormBeyondTheSlots(t *testing.T) {
	s := newStorm(t, 5, 5, 5)
	s.storm(30)
	s.wantScanned(15)
	s.wantShown(session.Starting, "", 15)
	waiting := fmt.Sprint(session.Starting, " ", session.NoCapacity)
	s.eventuallyWithin(session.NoCapacityAfter+patience, "that who waits is told", func() bool { return s.shown()[waiting] == 15 })
	s.wantShown(session.ScanQRCode, "", 15)
	s.stormConnector(100)
	s.wantScanned(30)
	s.wantShown(session.ScanQRCode, "", 30)
}

func testNobodyHasRoom(t *testing.T) {
	s := newSystem(t, options{})
	s.start("a", "")
	s.wait("a", session.Starting, "")
	s.eventuallyWithin(session.NoCapacityAfter+patience, "that a is told", func() bool { return s.get("a").reason() == session.NoCapacity })
	s.connector()
	s.wait("a", session.ScanQRCode)
}
