package whatsapp

import (
	"fmt"
	"testing"

	"github.com/wafleet/wafleet/connector/event"
	"github.com/wafleet/wafleet/shared/session"
	"github.com/wafleet/wafleet/shared/wasim"
)

// hasty closes a connection with its last stanza, not a moment after it.
func hasty(s *wasim.Server) { s.FinalDelay = -1 }

// lastWordRounds are enough: without the second look about every other last
// stanza is lost.
const lastWordRounds = 20

// TestTheLastWordIsHeard: what WhatsApp says last is told however soon the
// connection closes after it.
func TestTheLastWordIsHeard(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		say  func(h *holding, jid string) error
		want event.Event
	}{
		"replaced":       {func(h *holding, jid string) error { _, err := h.sim.ConnectAs(jid); return err }, event.Replaced{}},
		"device removed": {func(h *holding, jid string) error { return h.sim.Logout(jid) }, event.LoggedOut{Code: wasim.ReasonLoggedOut}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t, hasty)
			for i := range lastWordRounds {
				h := r.open(session.SQLite)
				jid := h.pair(fmt.Sprint("55119999900", 10+i))
				conn := h.login(jid)
				h.must(c.say(h, jid))
				if got := h.next(); got != c.want {
					t.Errorf("round %d: %T, want %T", i, got, c.want)
				}
				conn.Close()
				if rest := h.rest(); len(rest) > 0 {
					t.Errorf("round %d: further events: %v", i, rest)
				}
			}
		})
	}
}

// TestTheLastWordOfARefusedLoginIsHeard: the same before the login has ended.
func TestTheLastWordOfARefusedLoginIsHeard(t *testing.T) {
	t.Parallel()
	h := newRig(t, hasty).open(session.SQLite)
	jid := h.pair("5511999999999")
	for i := range lastWordRounds {
		h.must(h.sim.FailLoginWith(jid, wasim.FailOptions{Reason: 405}))
		conn := h.connect(jid)
		if got := h.next(); got != (event.Outdated{}) {
			t.Errorf("round %d: %T", i, got)
		}
		conn.Close()
		if rest := h.rest(); len(rest) > 0 {
			t.Errorf("round %d: further events: %v", i, rest)
		}
	}
}

// TestAWordIsHeardOnce: whoever handles a last stanza, the others do not.
func TestAWordIsHeardOnce(t *testing.T) {
	t.Parallel()
	frame := func(tag string) []byte { return append([]byte{0, 248, 1}, finalTags[tag]...) }
	var l lastWords
	l.hear(frame("stream:error"))
	l.hear(frame("failure"))
	l.hear([]byte{0, 248, 1, 7})
	l.hear([]byte{0, 248})
	l.hear([]byte{2, 248, 1, 7})
	l.hear(nil)
	for i, want := range []string{"stream:error", "failure"} {
		node, ok := l.takeOut()
		if !ok || node.Tag != want {
			t.Fatalf("word %d: %v %v, want %s", i, node, ok, want)
		}
	}
	if node, ok := l.takeOut(); ok {
		t.Fatalf("one more: %v", node)
	}
	l.hear(frame("failure"))
	for i, want := range []bool{true, false, false, true} { // the one that is left, the two that are not, one that was never noted
		if got := l.queued(); got != want {
			t.Errorf("out of the queue, %d: handled %v, want %v", i, got, want)
		}
	}
}
