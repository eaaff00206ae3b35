package e2e

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/wafleet/wafleet/shared/session"
	"github.com/wafleet/wafleet/shared/wasim"
)

// tap is a log of the simulator's that runs a function in the middle of what
// the simulator does, before it goes on.
type tap struct {
	slog.Handler
	on func(wasim.Kind)
}

func newTap(on func(wasim.Kind)) *slog.Logger {
	return slog.New(tap{slog.DiscardHandler, on})
}

func (tap) Enabled(context.Context, slog.Level) bool { return true }

func (t tap) Handle(_ context.Context, r slog.Record) error {
	r.Attrs(func(a slog.Attr) bool {
		if a.Key == "kind" {
			t.on(wasim.Kind(a.Value.String()))
		}
		return a.Key != "kind"
	})
	return nil
}

// onTheWay is how long what waits for a frozen connector takes to it: long
// enough to freeze it first, on a busy machine too.
const onTheWay = 6 * time.Second

// neverCloses is the delay of a simulator that leaves a replaced socket open, so
// that a frame which it still sends is seen.
const neverCloses = 5 * time.Minute

// delayed returns a simulator in which what follows on the first event of a
// kind is on the way for so long. It never closes a connection of its own
// accord.
func delayed(kind wasim.Kind) *wasim.Server {
	sim := &wasim.Server{FinalDelay: neverCloses}
	var once sync.Once
	sim.Logger = newTap(func(seen wasim.Kind) {
		if seen == kind {
			once.Do(func() { sim.SetLatency(onTheWay, 0) })
		}
	})
	return sim
}

// waiting is something on the way to a connector, which it freezes.
type waiting struct {
	after  wasim.Kind
	freeze func(s *system, first *process, jid string)
}

// TestWhatWaitsForAFrozenConnectorIsLeftAlone: a WORKING session's connector is
// frozen while something is on the way to it that would change the device, and
// another has taken over when it wakes.
//
// The simulator cannot send text, so the message is the one that it has: the
// phone's app state key, which uses up a pre-key, begins a ratchet and is
// stored. The other stanza is a refused login, on which whatsmeow deletes the
// device and all that belongs to it.
func TestWhatWaitsForAFrozenConnectorIsLeftAlone(t *testing.T) {
	t.Parallel()
	beside(t, map[string]waiting{
		"a message": {wasim.EventActive, func(s *system, first *process, _ string) {
			s.eventually("a message on the way", func() bool { return s.sim.Devices()[0].Queued == 1 })
			first.signal(syscall.SIGSTOP)
			if s.sim.Devices()[0].Queued != 1 {
				s.Fatal("the message was taken before the freeze")
			}
		}},
		"a refused login": {wasim.EventFailure, func(s *system, first *process, jid string) {
			s.eventually("the phone's key", s.keyShared)
			if err := s.sim.FailLogin(jid, wasim.ReasonLoggedOut, 1); err != nil {
				s.Fatal(err)
			}
			seq := s.sim.LastSeq()
			if _, err := s.sim.Drop(jid, wasim.DropRST); err != nil {
				s.Fatal(err)
			}
			s.simEvent(seq, wasim.EventFailure)
			first.signal(syscall.SIGSTOP)
			s.wait("a", session.Working)
		}},
	}, func(t *testing.T, one waiting) {
		s := newSystem(t, options{sim: delayed(one.after)})
		first := s.connector(shortLease)
		s.start("a", postgresStart)
		s.wait("a", session.ScanQRCode)
		second := s.connector(shortLease)
		jid := s.scan("a", "5511999990501")
		held := s.get("a").text("assignedWorker")
		one.freeze(s, first, jid)
		s.sim.SetLatency(0, 0)
		frozen := s.onlyConnection()

		s.eventually("a on the other connector", func() bool {
			seen := s.get("a")
			return seen.text("status") == "WORKING" && seen.text("assignedWorker") != held
		})
		s.eventually("the phone's key", s.keyShared)
		s.eventually("the arrival of what was on the way", func() bool {
			seen, open := s.connectionInfo(frozen.ID)
			return open && seen.FramesOut > frozen.FramesOut
		})
		before := s.deviceRows("session_run", "pairing")
		late := s.sim.Stats().LateFrames

		first.signal(syscall.SIGCONT)
		first.waitFor("every session is given up")
		s.eventually("the end of the old connection", func() bool {
			seen, open := s.connectionInfo(frozen.ID)
			if seen.FramesIn > frozen.FramesIn {
				t.Fatalf("%d frames came from the thawed connector", seen.FramesIn-frozen.FramesIn)
			}
			return !open
		})
		s.eventually("the registration of the thawed connector", func() bool { return s.liveConnectors() == 2 })
		if got := s.sim.Stats().LateFrames; got != late {
			t.Errorf("%d late frames", got-late)
		}
		if diff := cmp.Diff(before, s.deviceRows("session_run", "pairing")); diff != "" {
			t.Errorf("the thawed connector changed rows:\n%s", diff)
		}
		s.wait("a", session.Working)
		if code := second.end(); code != 0 {
			t.Errorf("exit code %d", code)
		}
		s.wait("a", session.Working)
		s.invariants(first)
	})
}

// keyShared tells whether the device has its phone's app state key and what
// came of it: nothing more is on its way.
func (s *system) keyShared() bool {
	return s.rows(`SELECT count(*) FROM whatsmeow_device d JOIN session_run r ON r.push_name = d.push_name WHERE d.push_name <> ''`) == 1 && s.sim.Devices()[0].Queued == 0
}

// onlyConnection returns the only open connection.
func (s *system) onlyConnection() wasim.ConnectionInfo {
	s.Helper()
	var open []wasim.ConnectionInfo
	s.eventually("only one connection", func() bool {
		open = s.sim.Connections()
		return len(open) == 1
	})
	return open[0]
}

func (s *system) connectionInfo(id uint64) (info wasim.ConnectionInfo, open bool) {
	all := s.sim.Connections()
	i := slices.IndexFunc(all, func(c wasim.ConnectionInfo) bool { return c.ID == id })
	if i < 0 {
		return info, false
	}
	return all[i], true
}

// deviceRows returns every row of devices in Postgres, and of other tables, as
// text.
func (s *system) deviceRows(others ...string) []string {
	s.Helper()
	tables := s.texts(`SELECT table_name FROM information_schema.tables WHERE table_schema = 'public' AND table_name LIKE 'whatsmeow_%' ORDER BY 1`)
	if len(tables) < 10 {
		s.Fatalf("the tables of devices are %v", tables)
	}
	var rows []string
	for _, table := range append(tables, others...) {
		for _, row := range s.texts(fmt.Sprintf(`SELECT r::text FROM %q r ORDER BY 1`, table)) {
			rows = append(rows, table+" "+row)
		}
	}
	return rows
}
