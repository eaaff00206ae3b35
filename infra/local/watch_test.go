package main

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/wafleet/wafleet/shared/session"
	"github.com/wafleet/wafleet/shared/store"
)

// waiting is one session that waits for a scan, at a moment that moves.
type waiting struct {
	now     time.Time
	state   session.Status
	queries int
}

func (w *waiting) session() session.Session {
	return session.Session{
		Name: "my-session", Wanted: session.Wanted{Desired: session.DesiredRunning, Generation: 1}, ReadAt: w.now,
		Run: session.Run{State: w.state, SeenGeneration: 1, Holder: "c", LeaseUntil: w.now.Add(time.Minute)},
	}
}

func (w *waiting) Sessions(context.Context, session.TenantID, store.Filter) ([]session.Session, error) {
	w.queries++
	return []session.Session{w.session()}, nil
}

func (w *waiting) Pairing(context.Context, session.TenantID, session.Name) (session.Session, session.Pairing, error) {
	return w.session(), session.Pairing{QR: session.QRCodes{
		Codes: []string{"first", "second"}, StartedAt: time.Unix(0, 0), First: time.Minute, Next: time.Minute,
	}}, nil
}

func TestEachCodeIsDrawnOnce(t *testing.T) {
	t.Parallel()
	out := &page{}
	from := &waiting{now: time.Unix(1, 0), state: session.ScanQRCode}
	w := &watcher{from: from, screen: newConsole(out, true), seen: map[session.Name]sight{}}
	check := func(when string, drawings int, lines int) {
		t.Helper()
		w.look(t.Context())
		text := out.String()
		if got := strings.Count(text, "Scan this with WhatsApp to link session my-session"); got != drawings {
			t.Errorf("%s: %d drawings, want %d", when, got, drawings)
		}
		if got := strings.Count(text, "session my-session: "); got != lines {
			t.Errorf("%s: %d status lines, want %d", when, got, lines)
		}
	}
	check("first look", 1, 1)
	check("same code", 1, 1)
	from.now = time.Unix(61, 0)
	check("next code", 2, 1)
	from.now = time.Unix(121, 0)
	check("codes ran out", 2, 1)
	from.state = session.Working
	check("scanned", 2, 2)
	if !strings.Contains(out.String(), "█") || strings.Contains(out.String(), "first") {
		t.Error("a code is not drawn, or is written out")
	}
	if from.queries != 5 {
		t.Errorf("%d queries for 5 looks", from.queries)
	}
}

func TestNothingIsWatchedWithoutATerminal(t *testing.T) {
	t.Parallel()
	from := &waiting{}
	watch(t.Context(), from, "t", newConsole(&page{}, false)).Wait() // would not return
	if from.queries != 0 {
		t.Errorf("%d queries", from.queries)
	}
}
