package e2e

import (
	"fmt"
	"testing"
	"time"

	"github.com/wafleet/wafleet/shared/session"
	"github.com/wafleet/wafleet/shared/wasim"
)

const stormStarts = 1000

// benchStorm measures a thousand starts where there is room for all.
func benchStorm(b *testing.B, t *table) {
	s := newStorm(b, 400, 400, 400)
	t.say("storm: %d starts, 3 connectors of 400 slots and 200 connects per second", stormStarts)
	began := time.Now()
	asked, answered := s.storm(stormStarts)
	s.wantScanned(stormStarts)
	s.wantShown(session.ScanQRCode, "", stormStarts)
	took := spreadOf(registrationsAfter(s.sim.Events(), began))
	t.say("asked for within %s, answered within %s, sockets after %v", seconds(asked), seconds(answered), took)
	t.figure("storm of 1,000 starts", "asked for within "+seconds(asked)+", answered within "+seconds(answered))
	t.figure("storm: from its first start to a QR socket, 3 x 200 connects/s", took.String())
	t.invariant(b, "storm: sessions that show a code, claimed once", fmt.Sprint(took.n), fmt.Sprint(stormStarts), !b.Failed())
	b.ReportMetric(0, "ns/op")
}

func registrationsAfter(events []wasim.Event, began time.Time) (took []time.Duration) {
	for _, e := range events {
		if e.Kind == wasim.EventRegistration {
			took = append(took, e.Time.Sub(began))
		}
	}
	return took
}

// benchFull measures a thousand starts where there is room for half.
func benchFull(b *testing.B, t *table) {
	const slots = 500
	s := newStorm(b, 167, 167, slots-2*167)
	t.say("full: %d starts, 3 connectors of %d slots in all", stormStarts, slots)
	began := time.Now()
	s.storm(stormStarts)
	s.wantScanned(slots)
	t.say("%d show a code after %s; the rest waits", slots, seconds(time.Since(began)))
	waiting := fmt.Sprint(session.Starting, " ", session.NoCapacity)
	s.eventuallyWithin(session.NoCapacityAfter+patience, "that the rest is told", func() bool { return s.shown()[waiting] == stormStarts-slots })
	told := time.Since(began)
	s.wantScanned(slots)
	s.wantShown(session.ScanQRCode, "", slots)
	t.figure("full: 500 wait for a slot and show NO_CAPACITY after", seconds(told))
	t.say("told after %s; a connector joins", seconds(told))
	joined := time.Now()
	s.stormConnector(stormStarts)
	s.wantScanned(stormStarts)
	t.figure("full: a connector of 200 connects/s joins, the last shows a code after", seconds(time.Since(joined)))
	t.invariant(b, "full: sessions that show a code in the end, claimed once", fmt.Sprint(s.shown()[string(session.ScanQRCode)]), fmt.Sprint(stormStarts), !b.Failed())
	b.ReportMetric(0, "ns/op")
}
