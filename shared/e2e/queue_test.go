package e2e

import (
	"testing"
	"time"

	"github.com/wafleet/wafleet/shared/session"
	"github.com/wafleet/wafleet/shared/startqueue/fakesqs"
)

// A connector that cannot listen hears of starts by way of the queue; with the
// queue out of order, its poll finds them.
func TestHintsByWayOfAQueue(t *testing.T) {
	onHostOnly(t, "the stage has a queue of its own: see TestTheSystemAsAWSRunsIt")
	q := newQueue(t)
	s := newSystem(t, options{hints: q.sender})
	p := s.spy()
	p.setDeaf(true)
	c := s.connector(append(q.env, "DATABASE_URL="+p.relay.through)...)
	s.eventually("a long poll", func() bool { return q.Polls() == 1 })
	q.Put("poison")
	for _, name := range []string{"a", "b", "c"} {
		s.start(name, "")
		s.wait(name, session.ScanQRCode)
	}
	s.eventually("the queue is empty but for the poison", func() bool { bodies := q.Bodies(); return len(bodies) == 1 && bodies[0] == "poison" })
	if n := q.server.Calls("SendMessage"); n != 3 {
		t.Errorf("%d hints for three starts", n)
	}
	s.stop("a") // is no start
	s.want(200, "POST", "/api/sessions/b/restart", "")
	if n := q.server.Calls("SendMessage"); n != 3 {
		t.Errorf("%d hints after a stop and the restart of a held session", n)
	}

	q.server.Breaks("", fakesqs.IsDown)
	q.Put("ends the poll that has begun before")
	c.waitFor("start hints could not be received")
	s.start("down", "")
	s.wait("down", session.ScanQRCode)
	q.server.Breaks("", fakesqs.IsSilent)
	began := time.Now()
	s.start("silent", "")
	t.Logf("a start took %v with a silent queue", time.Since(began))
	s.wait("silent", session.ScanQRCode)
	q.server.Breaks("", nil)
	if code := c.end(); code != 0 {
		t.Errorf("exit code %d", code)
	}
	if n := q.Polls(); n != 0 {
		t.Errorf("%d polls after the drain", n)
	}
}
