package e2e

import (
	"database/sql"
	"fmt"
	"maps"
	"slices"
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
	db       *sql.DB
	sessions int
	members  []*member // those that run, oldest first
	launched int
}

type member struct {
	*process
	id session.ConnectorID
}

// How long a fleet may take for whatever it does, and for how long nothing may
// happen at the simulator before it counts as done. Rebalancing pauses for a
// second between two moves.
const (
	fleetPatience = 3 * time.Minute
	calm          = 5 * time.Second
)

// fleetSlots is per connector: two carry what three had.
const fleetSlots = "SLOTS=400"

// newFleet links the sessions on two connectors that connect faster than
// production's do.
func newFleet(b *testing.B, t *table, sessions int) *fleet {
	b.Helper()
	f := &fleet{
		system: newSystem(b, options{sim: &wasim.Server{EventLimit: 1 << 19}, allowDouble: true}), // the table judges
		table:  t, sessions: sessions,
	}
	var err error
	if f.db, err = sql.Open("postgres", f.url); err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { f.db.Close() })
	f.audit()
	f.join("CONNECTS_PER_SECOND=500")
	f.join("CONNECTS_PER_SECOND=500")
	pairMany(f.system, sessions)
	f.say("%d sessions are linked", sessions)
	return f
}

// join starts a connector as production does, but for env.
func (f *fleet) join(env ...string) *member {
	f.Helper()
	f.launched++
	url := "DATABASE_URL=" + f.urlOf(fmt.Sprint("process ", f.launched))
	m := &member{process: f.launchPlain(append([]string{url, fleetSlots}, env...)...)}
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
func (f *fleet) replaceAll(n int, env ...string) {
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
	f.quiet()
	f.say("dealt to %d connectors: %v", n, f.shares())
}

// end ends what runs, at once: whatever was to be measured is.
func (f *fleet) end() {
	for _, m := range f.members {
		m.kill()
	}
	f.members = nil
}

// quiet waits until every session is logged in and nothing moves, and returns
// when the last one moved. Logins that went before are of no interest.
func (f *fleet) quiet() (last time.Time) {
	f.Helper()
	seq := uint64(0)
	f.eventuallyWithin(fleetPatience, "a quiet fleet", func() bool {
		for _, e := range f.sim.EventsSince(seq) {
			seq = e.Seq
			if e.Kind == wasim.EventActive || e.Kind == wasim.EventClosed {
				last = e.Time
			}
		}
		return f.sim.Stats().Authed == f.sessions && time.Since(last) >= calm
	})
	return last
}

// held counts the sessions of each connector that runs.
func (f *fleet) held() map[session.ConnectorID]int {
	f.Helper()
	held := map[session.ConnectorID]int{}
	for _, m := range f.members {
		held[m.id] = len(f.devicesOf(m))
	}
	return held
}

// shares is held without the names, largest first.
func (f *fleet) shares() []int {
	f.Helper()
	return slices.SortedFunc(maps.Values(f.held()), func(a, b int) int { return b - a })
}

// devicesOf lists the devices that a connector holds.
func (f *fleet) devicesOf(m *member) []string {
	f.Helper()
	return f.texts(`SELECT jid FROM session_run WHERE holder = $1 AND jid IS NOT NULL`, string(m.id))
}

// epochs returns the epoch of every session.
func (f *fleet) epochs() map[string]int {
	f.Helper()
	rows, err := f.db.QueryContext(f.Context(), `SELECT session_id, epoch FROM session_run`)
	if err != nil {
		f.Fatal(err)
	}
	defer rows.Close()
	epochs := map[string]int{}
	for rows.Next() {
		var (
			id    string
			epoch int
		)
		if err := rows.Scan(&id, &epoch); err != nil {
			f.Fatal(err)
		}
		epochs[id] = epoch
	}
	if err := rows.Err(); err != nil {
		f.Fatal(err)
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
