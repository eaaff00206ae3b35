package e2e

import (
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/wafleet/wafleet/shared/session"
	"github.com/wafleet/wafleet/shared/wasim"
)

// fleet is a system with a fixed number of linked sessions and connectors that
// come and go, each known to the audit.
type fleet struct {
	*system
	*table
	sessions int
	members  []*member // those that run, oldest first
}

type member struct {
	*process
	id session.ConnectorID
}

// fleetPatience is how long a fleet may take for whatever it does.
const fleetPatience = 3 * time.Minute

// For how long nothing may happen at the simulator before a fleet counts as
// done: one that does not rebalance, and one that does. Connectors that have
// just come are left out of rebalancing for 10 s, and loads are compared every
// 5 s.
const (
	calm         = 3 * time.Second
	calmBalanced = 20 * time.Second
)

// still keeps a connector from rebalancing, where a phase needs an uneven fleet.
const still = "REBALANCE_PER_SECOND=0"

// fleetSlots is per connector: two carry what three had.
const fleetSlots = "SLOTS=400"

// newFleet links the sessions on two connectors that connect faster than
// production's do.
func newFleet(b *testing.B, t *table, sessions int) *fleet {
	b.Helper()
	f := &fleet{
		system: newSystem(b, options{sim: &wasim.Server{EventLimit: 1 << 19, FinalDelay: neverCloses}, allowDouble: true, allowFaults: true}), // the table judges
		table:  t, sessions: sessions,
	}
	f.join("CONNECTS_PER_SECOND=500")
	f.join("CONNECTS_PER_SECOND=500")
	pairMany(f.system, sessions)
	f.say("%d sessions are linked", sessions)
	return f
}

// join starts a connector as production does, but for env.
func (f *fleet) join(env ...string) *member {
	f.Helper()
	m := &member{process: f.launchPlain(append([]string{fleetSlots}, env...)...)}
	m.id, _ = m.registered()
	f.members = append(f.members, m)
	return m
}

// leave tells a connector to go, and returns how long it took and its exit code.
func (f *fleet) leave(m *member) (took time.Duration, code int) {
	f.Helper()
	began := time.Now()
	code = m.endWithin(fleetPatience)
	f.forget(m)
	return time.Since(began), code
}

func (f *fleet) forget(m *member) {
	f.members = slices.DeleteFunc(f.members, func(o *member) bool { return o == m })
}

// replaceAll deals the sessions to n new connectors: all old ones leave at once.
func (f *fleet) replaceAll(n int, calm time.Duration, env ...string) {
	f.Helper()
	old := slices.Clone(f.members)
	for range n {
		f.join(env...)
	}
	for _, m := range old {
		m.signal(syscall.SIGTERM)
	}
	for _, m := range old {
		f.leave(m)
	}
	f.quiet(calm)
	f.say("dealt to %d connectors: %v", n, f.shares())
}

// end ends what runs, at once: whatever was to be measured is.
func (f *fleet) end() {
	for _, m := range f.members {
		m.kill()
	}
	f.members = nil
}

// quiet waits until every session is logged in and nothing has moved for a
// while, and returns when the last one did.
func (f *fleet) quiet(calm time.Duration) (last time.Time) {
	f.Helper()
	return f.quietOnce(calm, func() bool { return f.sim.Stats().Authed == f.sessions })
}

// quietOnce is quiet with another idea of who is logged in.
func (f *fleet) quietOnce(calm time.Duration, complete func() bool) (last time.Time) {
	f.Helper()
	seq := uint64(0)
	f.eventuallyWithin(fleetPatience, "a quiet fleet", func() bool {
		for _, e := range f.sim.EventsSince(seq) {
			seq = e.Seq
			if e.Kind == wasim.EventActive || e.Kind == wasim.EventClosed {
				last = e.Time
			}
		}
		return time.Since(last) >= calm && complete()
	})
	return last
}

// shares is how many sessions each connector that runs holds, largest first.
func (f *fleet) shares() (shares []int) {
	f.Helper()
	for _, m := range f.members {
		shares = append(shares, len(f.devicesOf(m)))
	}
	slices.SortFunc(shares, func(a, b int) int { return b - a })
	return shares
}

// fullest is the connector that holds most.
func (f *fleet) fullest() *member {
	f.Helper()
	return slices.MaxFunc(f.members, func(a, b *member) int { return len(f.devicesOf(a)) - len(f.devicesOf(b)) })
}

// devicesOf lists the devices that a connector holds.
func (f *fleet) devicesOf(m *member) []string {
	f.Helper()
	return f.texts(`SELECT jid FROM session_run WHERE holder = $1 AND jid IS NOT NULL`, string(m.id))
}

// epochs returns the epoch of every session.
func (f *fleet) epochs() map[string]int {
	f.Helper()
	epochs := map[string]int{}
	for _, line := range f.texts(`SELECT session_id || ' ' || epoch FROM session_run`) {
		id, text, _ := strings.Cut(line, " ")
		epoch, err := strconv.Atoi(text)
		if err != nil {
			f.Fatal(err)
		}
		epochs[id] = epoch
	}
	return epochs
}

// movesSince compares epochs: every move is a claim.
func (f *fleet) movesSince(before map[string]int) (most, all int) {
	f.Helper()
	for id, epoch := range f.epochs() {
		n := epoch - before[id]
		most, all = max(most, n), all+n
	}
	return most, all
}
