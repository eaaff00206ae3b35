package whatsapp

import (
	"runtime"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.mau.fi/whatsmeow/types"

	"github.com/wafleet/wafleet/connector/event"
	"github.com/wafleet/wafleet/shared/session"
	"github.com/wafleet/wafleet/shared/wasim"
)

// stored reports whether the device is still in its store.
func (h *holding) stored(jid string) bool {
	h.Helper()
	parsed, err := types.ParseJID(jid)
	h.must(err)
	device, err := h.container.GetDevice(h.Context(), parsed)
	h.must(err)
	return device != nil
}

func TestLogoutIsToldWhenTheCredentialsAreGone(t *testing.T) {
	dialects(t, func(t *testing.T, dialect session.Dialect) {
		h := newRig(t).open(dialect)
		jid := h.pair("5511999999999")
		h.login(jid)
		h.must(h.sim.Logout(jid))
		if got := await[event.LoggedOut](h); got.Code != wasim.ReasonLoggedOut {
			t.Errorf("%+v", got)
		}
		if h.stored(jid) {
			t.Error("the credentials are still there")
		}
		h.noSockets()
		if rest := h.rest(); len(rest) > 0 {
			t.Errorf("further events: %v", rest)
		}
	})
}

func TestRefusedLogins(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		fail wasim.FailOptions
		want event.Event
		kept bool
	}{
		"401": {wasim.FailOptions{Reason: 401}, event.LoggedOut{Code: 401}, false},
		"402": {wasim.FailOptions{Reason: 402, Code: 101, Expire: 90 * time.Second}, event.Banned{For: 90 * time.Second, Reason: "101: you sent too many messages to people who don't have you in their address books"}, true},
		"403": {wasim.FailOptions{Reason: 403}, event.LoggedOut{Code: 403}, false},
		"405": {wasim.FailOptions{Reason: 405}, event.Outdated{}, true},
		"406": {wasim.FailOptions{Reason: 406}, event.LoggedOut{Code: 406}, false},
		"409": {wasim.FailOptions{Reason: 409, Message: "no"}, event.Refused{Code: 409, Message: "no"}, true},
		"418": {wasim.FailOptions{Reason: 418}, event.Refused{Code: 418}, true},
		"500": {wasim.FailOptions{Reason: 500}, event.Disconnected{}, true},
		"503": {wasim.FailOptions{Reason: 503}, event.Disconnected{}, true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := newRig(t).open(session.SQLite)
			jid := h.pair("5511999999999")
			h.must(h.sim.FailLoginWith(jid, tt.fail))
			conn := h.connect(jid)
			got := h.next()
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
			if h.stored(jid) != tt.kept {
				t.Errorf("credentials kept: %v, want %v", !tt.kept, tt.kept)
			}
			conn.Close()
			h.noSockets()
			if rest := h.rest(); len(rest) > 0 {
				t.Errorf("further events: %v", rest)
			}
			if tt.kept {
				h.login(jid)
			}
		})
	}
}

func TestLogoutWhileOffline(t *testing.T) {
	t.Parallel()
	h := newRig(t).open(session.SQLite)
	jid := h.pair("5511999999999")
	h.must(h.sim.Logout(jid))
	h.connect(jid)
	if got := await[event.LoggedOut](h); got.Code != wasim.ReasonLoggedOut {
		t.Errorf("%+v", got)
	}
	if h.stored(jid) {
		t.Error("the credentials are still there")
	}
}

func TestEndsOfALiveConnection(t *testing.T) {
	t.Parallel()
	drop := func(mode wasim.DropMode) func(*holding, string) error {
		return func(h *holding, jid string) error { _, err := h.sim.Drop(jid, mode); return err }
	}
	streamError := func(code string) func(*holding, string) error {
		return func(h *holding, jid string) error { _, err := h.sim.StreamError(jid, code); return err }
	}
	silence := func(mode wasim.SilenceMode) func(*holding, string) error {
		return func(h *holding, jid string) error { _, err := h.sim.Silent(jid, mode); return err }
	}
	for name, tt := range map[string]struct {
		do   func(*holding, string) error
		want event.Event
	}{
		"fin":        {drop(wasim.DropFin), event.Disconnected{}},
		"rst":        {drop(wasim.DropRST), event.Disconnected{}},
		"close":      {drop(wasim.DropClose), event.Disconnected{}},
		"error 503":  {streamError("503"), event.Disconnected{}},
		"error 516":  {streamError("516"), event.StreamError{Code: "516"}},
		"replaced":   {func(h *holding, jid string) error { _, err := h.sim.ConnectAs(jid); return err }, event.Replaced{}},
		"mute peer":  {silence(wasim.SilenceMute), event.PingMissed{}},
		"frozen one": {silence(wasim.SilenceFreeze), event.PingMissed{}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := newRig(t).open(session.SQLite)
			jid := h.pair("5511999999999")
			conn := h.login(jid)
			if !conn.Up() {
				t.Error("it is not up after the login")
			}
			h.must(tt.do(h, jid))
			for {
				got := <-h.events
				if got == tt.want {
					break
				}
				if _, slow := got.(event.PingMissed); !slow {
					t.Fatalf("%#v, want %#v", got, tt.want)
				}
			}
			if tt.want == (event.PingMissed{}) && conn.Probe(t.Context()) {
				t.Error("a silent peer answered")
			}
			for end := time.Now().Add(patience); conn.Up() != (tt.want == event.PingMissed{}); runtime.Gosched() {
				if time.Now().After(end) {
					t.Fatalf("up is %v after %#v", conn.Up(), tt.want)
				}
			}
			start := time.Now()
			conn.Close()
			if took := time.Since(start); took > 2*settle {
				t.Errorf("Close took %v", took)
			}
			if tt.want == (event.PingMissed{}) {
				silence(wasim.SilenceOff)(h, "")
			}
			h.noSockets()
			if !h.stored(jid) {
				t.Error("the credentials are gone")
			}
		})
	}
}

func TestHeardIsTheLastSignOfLife(t *testing.T) {
	t.Parallel()
	h := newRig(t).open(session.SQLite)
	jid := h.pair("5511999999999")
	conn := h.login(jid)
	last := conn.Heard()
	if age := time.Since(last); last.IsZero() || age < 0 || age > patience {
		t.Errorf("heard %v ago", age)
	}
	for range 2 {
		if !conn.Probe(t.Context()) {
			t.Fatal("a live connection did not answer")
		}
		if now := conn.Heard(); !now.After(last) {
			t.Errorf("heard at %v, and after another answer at %v", last, now)
		}
		last = conn.Heard()
	}
	_, err := h.sim.Silent(jid, wasim.SilenceMute)
	h.must(err)
	silent := func() {
		if conn.Probe(t.Context()) {
			t.Fatal("a silent server answered")
		}
	}
	silent() // what was under way has come in
	last = conn.Heard()
	silent()
	if now := conn.Heard(); now != last {
		t.Errorf("heard at %v, and in the silence at %v", last, now)
	}
}
