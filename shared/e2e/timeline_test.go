package e2e

import (
	"fmt"
	"math"
	"slices"
	"testing"
	"time"

	"github.com/wafleet/wafleet/shared/wasim"
)

// gap is the time in which a device was not logged in, as WhatsApp saw it: from
// the end of a socket that was logged in to the end of the next login.
type gap struct {
	jid            string
	closed, active time.Time
}

// gapsIn reads a timeline from its beginning and returns the gaps that ended
// after the event since. Sockets that never got through their login are part of
// a gap. Where the next login is complete before the old socket is closed there
// is no gap.
func gapsIn(events []wasim.Event, since uint64) []gap {
	type device struct {
		conn   uint64 // logged in; 0: none yet
		closed time.Time
	}
	devices := map[string]*device{}
	var gaps []gap
	for _, e := range events {
		if e.JID == "" {
			continue
		}
		d := devices[e.JID]
		if d == nil {
			d = &device{}
			devices[e.JID] = d
		}
		switch e.Kind {
		case wasim.EventClosed:
			if e.Conn == d.conn {
				d.closed = e.Time
			}
		case wasim.EventActive:
			if !d.closed.IsZero() && e.Seq > since {
				gaps = append(gaps, gap{e.JID, d.closed, e.Time})
			}
			d.conn, d.closed = e.Conn, time.Time{}
		}
	}
	return gaps
}

// loginsIn returns when each device's first login after the event since was
// complete.
func loginsIn(events []wasim.Event, since uint64) map[string]time.Time {
	first := map[string]time.Time{}
	for _, e := range events {
		if _, known := first[e.JID]; e.Kind == wasim.EventActive && e.Seq > since && !known {
			first[e.JID] = e.Time
		}
	}
	return first
}

// spread sums up many durations.
type spread struct {
	n             int
	p50, p99, max time.Duration
}

func spreadOf(list []time.Duration) spread {
	if len(list) == 0 {
		return spread{}
	}
	sorted := slices.Sorted(slices.Values(list))
	at := func(share float64) time.Duration { return sorted[int(math.Ceil(share*float64(len(sorted))))-1] }
	return spread{len(sorted), at(0.5), at(0.99), sorted[len(sorted)-1]}
}

func spreadOfGaps(gaps []gap) spread {
	list := make([]time.Duration, len(gaps))
	for i, g := range gaps {
		list[i] = g.active.Sub(g.closed)
	}
	return spreadOf(list)
}

func (s spread) String() string {
	return fmt.Sprintf("p50 %s, p99 %s, max %s of %d", seconds(s.p50), seconds(s.p99), seconds(s.max), s.n)
}

func seconds(d time.Duration) string { return fmt.Sprintf("%.2f s", d.Seconds()) }

func TestGapsAreReadFromTheTimeline(t *testing.T) {
	t.Parallel()
	began := time.Now()
	var events []wasim.Event
	at := func(ms int, kind wasim.Kind, conn uint64, jid string) {
		events = append(events, wasim.Event{Seq: uint64(len(events) + 1), Time: began.Add(time.Duration(ms) * time.Millisecond), Kind: kind, Conn: conn, JID: jid})
	}
	at(0, wasim.EventPaired, 1, "a")
	at(1, wasim.EventClosed, 1, "a") // the registration: not a gap
	at(2, wasim.EventActive, 2, "a")
	at(3, wasim.EventActive, 3, "b")
	at(10, wasim.EventClosed, 2, "a")
	at(20, wasim.EventLogin, 4, "a")
	at(30, wasim.EventClosed, 4, "a") // did not get through: the gap goes on
	at(35, wasim.EventRegistration, 5, "")
	at(40, wasim.EventActive, 6, "a")
	at(41, wasim.EventActive, 7, "b")
	at(42, wasim.EventClosed, 3, "b") // after the next login: no gap
	since := uint64(len(events))
	at(50, wasim.EventClosed, 6, "a")
	at(55, wasim.EventActive, 8, "a")
	at(60, wasim.EventClosed, 7, "b") // and never back

	const ms = time.Millisecond
	for from, want := range map[uint64]spread{0: {2, 5 * ms, 30 * ms, 30 * ms}, since: {1, 5 * ms, 5 * ms, 5 * ms}} {
		if got := spreadOfGaps(gapsIn(events, from)); got != want {
			t.Errorf("after event %d the gaps are %v, want %v", from, got, want)
		}
	}
	logins := loginsIn(events, 2)
	if len(logins) != 2 || !logins["a"].Equal(began.Add(2*ms)) || !logins["b"].Equal(began.Add(3*ms)) {
		t.Errorf("logins %v", logins)
	}
	hundred := make([]time.Duration, 100)
	for i := range hundred {
		hundred[i] = time.Duration(100-i) * ms
	}
	if got, want := spreadOf(hundred), (spread{100, 50 * ms, 99 * ms, 100 * ms}); got != want {
		t.Errorf("spread %v, want %v", got, want)
	}
}
