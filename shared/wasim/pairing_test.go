package wasim_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"go.mau.fi/whatsmeow"
	"go.mau.fi/whatsmeow/types/events"

	"github.com/wafleet/wafleet/shared/wasim"
)

func TestScanPairsAndLogsIn(t *testing.T) {
	t.Parallel()
	s := start(t)
	c := newClient(t, s, newMemDevice())
	c.connect()
	qr := await[*events.QR](c)
	if len(qr.Codes) != 6 {
		t.Fatalf("%d refs", len(qr.Codes))
	}
	jid, err := s.Scan("+55 11 99999-9999", qr.Codes[2])
	if err != nil {
		t.Fatal(err)
	}
	if jid != "5511999999999:1@s.whatsapp.net" {
		t.Fatalf("JID %s", jid)
	}
	if got := await[*events.PairSuccess](c); got.ID.String() != jid || got.LID.Device != 1 || got.LID.Server != "lid" {
		t.Fatalf("%+v", got)
	}
	c.online()
	st := s.Stats()
	if st.Registrations != 1 || st.Logins != 1 || st.Paired != 1 || st.Authed != 1 || st.MaxSocketsPerDevice != 1 || st.Handshakes != 2 {
		t.Fatalf("%+v", st)
	}
	if d := s.Devices(); len(d) != 1 || d[0].JID != jid || d[0].PreKeys < 5 {
		t.Fatalf("%+v", d)
	}
	if _, err := s.Scan("5511999999999", qr.Codes[0]); !errors.Is(err, wasim.ErrUnknownQR) {
		t.Fatalf("second scan: %v", err)
	}
}

func TestLinkCodePairs(t *testing.T) {
	t.Parallel()
	s := start(t)
	c := newClient(t, s, newMemDevice())
	c.connect()
	await[*events.QR](c)
	code, err := c.PairPhone(context.Background(), "5511988887777", true, whatsmeow.PairClientChrome, "Chrome (Linux)")
	if err != nil {
		t.Fatal(err)
	}
	jid, err := s.LinkCode("5511988887777", strings.ToLower(code))
	if err != nil {
		t.Fatal(err)
	}
	if got := await[*events.PairSuccess](c); got.ID.String() != jid {
		t.Fatalf("%+v", got)
	}
	c.online()
}

func TestWrongLinkCodeLeavesTheClientUsable(t *testing.T) {
	t.Parallel()
	s := start(t)
	c := newClient(t, s, newMemDevice())
	c.connect()
	await[*events.QR](c)
	code, err := c.PairPhone(context.Background(), "5511988887777", true, whatsmeow.PairClientChrome, "Chrome (Linux)")
	if err != nil {
		t.Fatal(err)
	}
	wrong := "ABCD1234"
	if _, err := s.LinkCode("5511988887777", wrong); !errors.Is(err, wasim.ErrWrongCode) {
		t.Fatalf("wrong code: %v", err)
	}
	if _, err := s.LinkCode("5511988887777", "OOPS"); !errors.Is(err, wasim.ErrBadCode) {
		t.Fatalf("bad code: %v", err)
	}
	if _, err := s.LinkCode("5511988887777", code); err != nil {
		t.Fatal(err)
	}
	c.online()
}

func TestLinkCodeWithoutClient(t *testing.T) {
	t.Parallel()
	s := start(t, func(s *wasim.Server) { s.PairTimeout = 20 * time.Millisecond })
	if _, err := s.LinkCode("5511988887777", "ABCD-1234"); !errors.Is(err, wasim.ErrNoHello) {
		t.Fatal(err)
	}
}

func TestPhoneSharesItsPushName(t *testing.T) {
	t.Parallel()
	s := start(t, func(s *wasim.Server) { s.PushName, s.NoAppState = "Ana", false })
	c, jid := pair(t, s, "5511999990000")
	await[*events.PushNameSetting](c)
	if c.Store.PushName != "Ana" {
		t.Fatalf("push name %q", c.Store.PushName)
	}
	expect(t, s, 0, wasim.EventPushName)
	waitQueued(t, s, jid, 0)
}

// waitQueued waits until that many stanzas are unacknowledged.
func waitQueued(t *testing.T, s *wasim.Server, jid string, want int) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	_, err := s.WaitEvent(ctx, func(wasim.Event) bool {
		for _, d := range s.Devices() {
			if d.JID == jid {
				return d.Queued == want
			}
		}
		return false
	})
	if err != nil {
		t.Fatalf("%v: %+v", err, s.Devices())
	}
}
