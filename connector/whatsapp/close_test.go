package whatsapp

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/wafleet/wafleet/connector/event"
	"github.com/wafleet/wafleet/shared/session"
	"github.com/wafleet/wafleet/shared/wasim"
)

func TestConnectEndsWithItsContextWhileTheUpgradeHangs(t *testing.T) {
	t.Parallel()
	h := newRig(t).open(session.SQLite)
	h.must(h.sim.Refuse(wasim.RefuseHang, 0))
	cause := errors.New("enough")
	ctx, cancel := context.WithCancelCause(t.Context())
	timer := time.AfterFunc(300*time.Millisecond, func() { cancel(cause) })
	defer timer.Stop()
	start := time.Now()
	conn, err := h.Connect(ctx, "", func(e event.Event) { t.Errorf("event %T", e) })
	if took := time.Since(start); conn != nil || !errors.Is(err, cause) || took > 5*time.Second {
		t.Errorf("%v, %v after %v", conn, err, took)
	}
	h.rig.devices.Wait() // nothing of it is left
	h.must(h.sim.Refuse(wasim.RefuseOff, 0))
	h.noSockets()
}

func TestRefusedDials(t *testing.T) {
	t.Parallel()
	for _, mode := range []wasim.RefuseMode{wasim.RefuseClose, wasim.RefuseHTTP} {
		t.Run(string(mode), func(t *testing.T) {
			t.Parallel()
			h := newRig(t).open(session.SQLite)
			h.must(h.sim.Refuse(mode, 1))
			if _, err := h.Connect(t.Context(), "", func(event.Event) {}); err == nil {
				t.Error("connected")
			}
			h.connect("")
			await[event.QR](h)
		})
	}
}

func TestConnectionEndsWithItsContext(t *testing.T) {
	t.Parallel()
	h := newRig(t).open(session.SQLite)
	jid := h.pair("5511999999999")
	ctx, cancel := context.WithCancel(t.Context())
	conn, err := h.Connect(ctx, jid, func(e event.Event) { h.events <- e })
	h.must(err)
	await[event.Connected](h)
	cancel()
	h.noSockets()
	conn.Close() // does no harm, nor does a second
	conn.Close()
	if rest := h.rest(); len(rest) > 0 {
		t.Errorf("events of a planned end: %v", rest)
	}
	if log := h.log.String(); contains(log, `"level":"ERROR"`, `"level":"WARN"`) {
		t.Errorf("a planned end is logged as a problem:\n%s", log)
	}
}

// TestCloseUnderFire closes while stanzas come in: whatsmeow's reader must not be left behind with one. That is seen at
// the end of the process, by the check for leaked goroutines.
func TestCloseUnderFire(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	var all sync.WaitGroup
	for range 8 {
		h := r.open(session.SQLite)
		all.Go(func() {
			for range 15 {
				conn, err := h.Connect(t.Context(), "", func(event.Event) {})
				if err != nil {
					t.Error(err)
					return
				}
				conn.Close()
			}
		})
	}
	all.Wait()
	r.noSockets()
}

func TestCloseAtAnyMomentOfALogin(t *testing.T) {
	t.Parallel()
	h := newRig(t).open(session.SQLite)
	jid := h.pair("5511999999999")
	for i := range 20 {
		ctx, cancel := context.WithTimeout(t.Context(), time.Duration(i)*2*time.Millisecond)
		conn, err := h.Connect(ctx, jid, func(event.Event) {})
		if err == nil {
			conn.Close()
		}
		cancel()
	}
	h.noSockets()
	h.login(jid)
}
