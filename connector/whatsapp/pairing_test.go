package whatsapp

import (
	"errors"
	"strings"
	"testing"

	"github.com/wafleet/wafleet/connector/event"
	"github.com/wafleet/wafleet/shared/session"
	"github.com/wafleet/wafleet/shared/wasim"
)

// dialects runs a test with both homes of a device.
func dialects(t *testing.T, do func(t *testing.T, dialect session.Dialect)) {
	t.Parallel()
	for _, dialect := range []session.Dialect{session.SQLite, session.Postgres} {
		t.Run(string(dialect), func(t *testing.T) {
			t.Parallel()
			do(t, dialect)
		})
	}
}

func TestPairByQRThenLogIn(t *testing.T) {
	dialects(t, func(t *testing.T, dialect session.Dialect) {
		h := newRig(t, func(s *wasim.Server) { s.NoAppState = false; s.PushName = "Ana" }).open(dialect)
		conn := h.connect("")
		qr := await[event.QR](h)
		if len(qr.Codes) != 6 {
			t.Errorf("%d codes, want 6", len(qr.Codes))
		}
		jid, err := h.sim.Scan("5511999999999", qr.Codes[0])
		h.must(err)
		if got := await[event.Paired](h); got.JID != jid {
			t.Errorf("paired as %s, want %s", got.JID, jid)
		}
		await[event.ReconnectNeeded](h)
		conn.Close()
		h.noSockets()
		if rest := h.rest(); len(rest) > 0 {
			t.Errorf("further events: %v", rest)
		}

		conn = h.connect(jid)
		await[event.Connected](h)
		if got := await[event.Named](h); got.PushName != "Ana" {
			t.Errorf("named %q", got.PushName)
		}
		if !conn.Probe(t.Context()) {
			t.Error("a live connection did not answer")
		}
		conn.Close()

		// The next connection knows the name at once, from the store.
		conn = h.connect(jid)
		if got := await[event.Named](h); got.PushName != "Ana" {
			t.Errorf("named %q", got.PushName)
		}
		await[event.Connected](h)
		conn.Close()
		h.noSockets()
		devices := h.sim.Devices()
		if len(devices) != 1 || devices[0].MaxSockets != 1 || devices[0].Platform != deviceName {
			t.Errorf("%+v", devices)
		}
	})
}

func TestPairByCode(t *testing.T) {
	dialects(t, func(t *testing.T, dialect session.Dialect) {
		h := newRig(t).open(dialect)
		const number = "5511988887777"
		conn := h.connect("")
		await[event.QR](h)
		code, err := conn.PairPhone(t.Context(), session.Phone(number))
		h.must(err)
		if len(code) != 9 || code[4] != '-' {
			t.Errorf("code of %d characters", len(code))
		}
		if _, err := h.sim.LinkCode(number, strings.Repeat("1", 8)); !errors.Is(err, wasim.ErrWrongCode) {
			t.Errorf("a wrong code: %v", err)
		}
		jid, err := h.sim.LinkCode(number, code)
		h.must(err)
		if got := await[event.Paired](h); got.JID != jid {
			t.Errorf("paired as %s, want %s", got.JID, jid)
		}
		await[event.ReconnectNeeded](h)
		conn.Close()
		h.login(jid)
	})
}

func TestTwoSessionsShareTheFleetsDatabase(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	one, two := r.open(session.Postgres), r.open(session.Postgres)
	first, second := one.pair("5511911111111"), two.pair("5511922222222")
	one.login(first)
	two.login(second)
	if got := r.sim.Stats(); got.Authed != 2 || got.MaxSocketsPerDevice != 1 {
		t.Errorf("%+v", got)
	}
}

func TestConnectWithoutADevice(t *testing.T) {
	dialects(t, func(t *testing.T, dialect session.Dialect) {
		h := newRig(t).open(dialect)
		sink := func(e event.Event) { t.Errorf("event %T", e) }
		if _, err := h.Connect(t.Context(), "5511999999999:4@s.whatsapp.net", sink); !errors.Is(err, event.ErrNoDevice) {
			t.Errorf("an unknown device: %v", err)
		}
		if _, err := h.Connect(t.Context(), "a:b:c@d", sink); err == nil || errors.Is(err, event.ErrNoDevice) {
			t.Errorf("a malformed device: %v", err)
		}
		if got := h.sim.Stats().Handshakes; got != 0 {
			t.Errorf("%d handshakes without a device", got)
		}
	})
}

func TestStoreTroubleIsTold(t *testing.T) {
	t.Parallel()
	h := newRig(t).open(session.SQLite)
	h.must(h.Device.Close())
	_, err := h.Connect(t.Context(), "5511999999999:4@s.whatsapp.net", func(event.Event) {})
	if !errors.Is(err, event.ErrStore) {
		t.Errorf("%v", err)
	}
}
