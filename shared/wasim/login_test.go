package wasim_test

import (
	"context"
	"errors"
	"net/http"
	"testing"
	"time"

	"go.mau.fi/whatsmeow"
	"go.mau.fi/whatsmeow/types/events"

	"github.com/wafleet/wafleet/shared/wasim"
)

func TestCleanReconnectsAreOneSocket(t *testing.T) {
	t.Parallel()
	s := start(t)
	c, jid := pair(t, s, "5511900000001")
	for range 5 {
		c.Disconnect()
		c.connect()
		c.online()
	}
	c.close()
	st := s.Stats()
	if st.MaxSocketsPerDevice != 1 || st.Overlaps != 0 || st.Logins != 6 {
		t.Fatalf("%+v", st)
	}
	if d := s.Devices(); d[0].JID != jid || d[0].MaxSockets != 1 || d[0].Logins != 6 {
		t.Fatalf("%+v", d)
	}
}

func TestSecondOwnerIsAnOverlapAndReplacesTheFirst(t *testing.T) {
	t.Parallel()
	s := start(t)
	first, jid := pair(t, s, "5511900000002")
	seq := s.LastSeq()
	second := newClient(t, s, copyOf(first.Store))
	second.connect()
	second.online()
	await[*events.StreamReplaced](first)
	if e := expect(t, s, seq, wasim.EventOverlap); e.JID != jid || e.Detail != "2" {
		t.Fatalf("%+v", e)
	}
	if st := s.Stats(); st.MaxSocketsPerDevice != 2 || st.Overlaps != 1 || st.Replaced != 1 {
		t.Fatalf("%+v", st)
	}
	first.Disconnect()
	expect(t, s, seq, wasim.EventClosed)
	if st := s.Stats(); st.Authed != 1 {
		t.Fatalf("%+v", st)
	}
}

// A client whose socket stays open but which runs no more, like a stopped process, is no second owner.
func TestFrozenOwnerIsNoOverlap(t *testing.T) {
	t.Parallel()
	s := start(t)
	paired, _ := pair(t, s, "5511900000003")
	dev := copyOf(paired.Store)
	paired.Disconnect()
	freezer := newFreezer(t, s)
	frozen := newClient(t, s, copyOf(dev))
	frozen.useFreezer(freezer)
	frozen.connect()
	frozen.online()
	freezer.freeze()
	seq := s.LastSeq()
	next := newClient(t, s, dev)
	next.connect()
	next.online()
	expect(t, s, seq, wasim.EventReplaced)
	if st := s.Stats(); st.MaxSocketsPerDevice != 1 || st.Overlaps != 0 {
		t.Fatalf("%+v", st)
	}
	freezer.cut()
}

func TestConnectAsReplacesWithoutOverlap(t *testing.T) {
	t.Parallel()
	s := start(t)
	c, jid := pair(t, s, "5511900000004")
	if n, err := s.ConnectAs(jid); err != nil || n != 1 {
		t.Fatal(n, err)
	}
	await[*events.StreamReplaced](c)
	if st := s.Stats(); st.MaxSocketsPerDevice != 1 || st.Replaced != 1 {
		t.Fatalf("%+v", st)
	}
	if _, err := s.ConnectAs("5511000000000"); !errors.Is(err, wasim.ErrUnknownDevice) {
		t.Fatal(err)
	}
}

func TestLogoutFromPhoneOnline(t *testing.T) {
	t.Parallel()
	s := start(t)
	c, jid := pair(t, s, "5511900000005")
	if err := s.Logout(jid); err != nil {
		t.Fatal(err)
	}
	if e := await[*events.LoggedOut](c); e.OnConnect {
		t.Fatalf("%+v", e)
	}
	if d := s.Devices(); len(d) != 0 {
		t.Fatalf("%+v", d)
	}
	if err := s.Logout(jid); !errors.Is(err, wasim.ErrUnknownDevice) {
		t.Fatal(err)
	}
}

func TestLogoutFromPhoneOffline(t *testing.T) {
	t.Parallel()
	s := start(t)
	c, _ := pair(t, s, "5511900000006")
	c.Disconnect()
	if err := s.Logout("5511900000006@c.us"); err != nil {
		t.Fatal(err)
	}
	c.connect()
	if e := await[*events.LoggedOut](c); !e.OnConnect || e.Reason != events.ConnectFailureLoggedOut {
		t.Fatalf("%+v", e)
	}
}

func TestUserLogoutRemovesTheDevice(t *testing.T) {
	t.Parallel()
	s := start(t)
	c, jid := pair(t, s, "5511900000007")
	if err := c.Logout(context.Background()); err != nil {
		t.Fatal(err)
	}
	if e := expect(t, s, 0, wasim.EventUserLogout); e.JID != jid {
		t.Fatalf("%+v", e)
	}
	if d := s.Devices(); len(d) != 0 {
		t.Fatalf("%+v", d)
	}
}

func TestFailedLogins(t *testing.T) {
	t.Parallel()
	s, brisk := start(t), start(t, briskly)
	for number, test := range map[string]struct {
		options wasim.FailOptions
		check   func(*testing.T, *client)
	}{
		"5511900000401": {wasim.FailOptions{Reason: 401}, loggedOut(events.ConnectFailureLoggedOut)},
		"5511900000403": {wasim.FailOptions{Reason: 403}, loggedOut(events.ConnectFailureMainDeviceGone)},
		"5511900000406": {wasim.FailOptions{Reason: 406}, loggedOut(events.ConnectFailureUnknownLogout)},
		"5511900000402": {wasim.FailOptions{Reason: 402, Code: 104, Expire: 90 * time.Minute}, func(t *testing.T, c *client) {
			if e := await[*events.TemporaryBan](c); e.Code != 104 || e.Expire != 90*time.Minute {
				t.Fatalf("%+v", e)
			}
		}},
		"5511900000405": {wasim.FailOptions{Reason: 405}, func(_ *testing.T, c *client) { await[*events.ClientOutdated](c) }},
		"5511900000503": {wasim.FailOptions{Reason: 503}, func(_ *testing.T, c *client) { await[*events.Disconnected](c) }},
		"5511900000418": {wasim.FailOptions{Reason: 418, Message: "teapot"}, func(t *testing.T, c *client) {
			if e := await[*events.ConnectFailure](c); e.Reason != 418 || e.Message != "teapot" {
				t.Fatalf("%+v", e)
			}
		}},
	} {
		t.Run(number[10:], func(t *testing.T) {
			t.Parallel()
			s := s
			if test.options.Reason == 503 {
				s = brisk
			}
			c, jid := pair(t, s, number)
			c.Disconnect()
			if err := s.FailLoginWith(jid, test.options); err != nil {
				t.Fatal(err)
			}
			c.connect()
			test.check(t, c)
		})
	}
}

func loggedOut(reason events.ConnectFailureReason) func(*testing.T, *client) {
	return func(t *testing.T, c *client) {
		if e := await[*events.LoggedOut](c); !e.OnConnect || e.Reason != reason {
			t.Fatalf("%+v", e)
		}
	}
}

func TestFailLoginCounts(t *testing.T) {
	t.Parallel()
	s := start(t, briskly)
	c, jid := pair(t, s, "5511900000008")
	c.Disconnect()
	if err := s.FailLogin(jid, 503, 2); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		c.connect()
		await[*events.Disconnected](c)
	}
	c.connect()
	c.online()
	if st := s.Stats(); st.Failures != 2 || st.Logins != 2 {
		t.Fatalf("%+v", st)
	}
}

func TestMinVersion(t *testing.T) {
	t.Parallel()
	s := start(t, func(s *wasim.Server) { s.Revision = 1234567890 })
	c, _ := pair(t, s, "5511900000009")
	c.Disconnect()
	latest, err := whatsmeow.GetLatestVersion(context.Background(), &http.Client{Transport: transport(s)})
	if err != nil {
		t.Fatal(err)
	}
	if latest.String() != "2.3000.1234567890" {
		t.Fatal(latest)
	}
	if err := s.SetMinVersion(latest.String()); err != nil {
		t.Fatal(err)
	}
	c.connect()
	await[*events.ClientOutdated](c)
	fresh := newClient(t, s, newMemDevice())
	fresh.connect()
	await[*events.ClientOutdated](fresh)
	c.Disconnect()
	if err := s.SetMinVersion(""); err != nil {
		t.Fatal(err)
	}
	c.connect()
	c.online()
	if err := s.SetMinVersion("two"); err == nil {
		t.Fatal("accepted")
	}
}
