package wasim_test

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"

	"go.mau.fi/whatsmeow"
	"go.mau.fi/whatsmeow/types/events"

	"github.com/wafleet/wafleet/shared/wasim"
)

// A client that closes its old socket by itself within the grace was closing anyway.
func TestOldSocketClosedWithinTheGraceIsNoOverlap(t *testing.T) {
	t.Parallel()
	s := start(t, func(s *wasim.Server) { s.OverlapGrace = 3 * time.Second })
	first, _ := pair(t, s, "5511900000300")
	seq := s.LastSeq()
	second := newClient(t, s, copyOf(first.Store))
	second.connect()
	await[*events.Connected](second)
	first.Disconnect()
	expect(t, s, seq, wasim.EventClosed)
	third := newClient(t, s, copyOf(second.Store))
	third.connect()
	await[*events.StreamReplaced](second) // so the judgement of second's login, before it, is done, too
	if st := s.Stats(); st.MaxSocketsPerDevice != 2 || st.Overlaps != 1 || st.Replaced != 1 {
		t.Fatalf("%+v", st)
	}
	var of []uint64
	for _, e := range s.EventsSince(seq) {
		if e.Kind == wasim.EventOverlap {
			of = append(of, e.Conn)
		}
	}
	if open := s.Connections(); len(of) != 1 || of[0] != open[len(open)-1].ID {
		t.Fatalf("overlap of connections %v among %+v", of, open)
	}
}

// What a device has not acknowledged comes again at its next login.
func TestUnacknowledgedStanzaIsSentAgain(t *testing.T) {
	t.Parallel()
	s := start(t)
	c, jid := pair(t, s, "5511900000301")
	if _, err := s.Silent(jid, wasim.SilenceMute); err != nil {
		t.Fatal(err)
	}
	s.Notify(jid, "n-1")
	if d := s.Devices(); d[0].Queued != 1 {
		t.Fatalf("%+v", d)
	}
	if _, err := s.Drop(jid, wasim.DropRST); err != nil {
		t.Fatal(err)
	}
	await[*events.Disconnected](c)
	c.connect()
	// The first login had both events too, with nothing in them; they may come late.
	preview := await[*events.OfflineSyncPreview](c)
	for preview.Total == 0 {
		preview = await[*events.OfflineSyncPreview](c)
	}
	if preview.Total != 1 || preview.Notifications != 1 {
		t.Fatalf("%+v", preview)
	}
	completed := await[*events.OfflineSyncCompleted](c)
	for completed.Count == 0 {
		completed = await[*events.OfflineSyncCompleted](c)
	}
	if completed.Count != 1 {
		t.Fatalf("%+v", completed)
	}
	waitQueued(t, s, jid, 0)
}

// LinkCode may come before the client's request: the owner of the phone is quick.
func TestLinkCodeWaitsForTheClient(t *testing.T) {
	t.Parallel()
	s := start(t)
	c := newClient(t, s, newMemDevice())
	c.connect()
	await[*events.QR](c)
	result := make(chan error, 1)
	go func() {
		_, err := s.LinkCode("5511900000302", "ABCD-1234")
		result <- err
	}()
	if _, err := c.PairPhone(context.Background(), "5511900000302", true, whatsmeow.PairClientChrome, "Chrome (Linux)"); err != nil {
		t.Fatal(err)
	}
	if err := <-result; !errors.Is(err, wasim.ErrWrongCode) {
		t.Fatal(err)
	}
}

func TestLinkCodeDisplayNameIsChecked(t *testing.T) {
	t.Parallel()
	s := start(t)
	c := newClient(t, s, newMemDevice())
	c.connect()
	await[*events.QR](c)
	_, err := c.PairPhone(context.Background(), "5511900000303", true, whatsmeow.PairClientChrome, "wafleet")
	if !errors.Is(err, whatsmeow.ErrIQBadRequest) {
		t.Fatal(err)
	}
}

// Close ends quickly whatever the connections are at: frozen, silent, hanging in the upgrade, waiting for a scan.
func TestCloseEndsEverything(t *testing.T) {
	t.Parallel()
	s := start(t)
	one, frozen := pair(t, s, "5511900000304")
	two, muted := pair(t, s, "5511900000305")
	fresh := newClient(t, s, newMemDevice())
	fresh.connect()
	await[*events.QR](fresh)
	if _, err := s.Silent(frozen, wasim.SilenceFreeze); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Silent(muted, wasim.SilenceMute); err != nil {
		t.Fatal(err)
	}
	waiting := make(chan error, 2)
	go func() {
		_, err := s.LinkCode("5511900000306", "ABCD-1234")
		waiting <- err
	}()
	if err := s.Refuse(wasim.RefuseHang, 0); err != nil {
		t.Fatal(err)
	}
	hanging := &http.Client{Transport: transport(s)}
	go func() {
		resp, err := hanging.Get("https://web.whatsapp.com/ws/chat")
		if err == nil {
			_ = resp.Body.Close()
			err = errors.New("answered")
		}
		waiting <- err
	}()
	began := time.Now()
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if took := time.Since(began); took > 3*time.Second {
		t.Errorf("Close took %v", took)
	}
	for range 2 {
		if err := <-waiting; err == nil || strings.Contains(err.Error(), "answered") {
			t.Error(err)
		}
	}
	for _, c := range []*client{one, two, fresh} {
		await[*events.Disconnected](c)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if err := s.Start(); err == nil {
		t.Fatal("started again")
	}
	if st := s.Stats(); st.Open != 0 || st.Authed != 0 {
		t.Fatalf("%+v", st)
	}
}

func TestStartErrorsArePlain(t *testing.T) {
	t.Parallel()
	for name, s := range map[string]*wasim.Server{
		"address":   {Addr: "nonsense"},
		"state dir": {StateFile: t.TempDir() + "/no/such/dir/state.json"},
		"state":     {StateFile: "/dev/null"},
	} {
		err := s.Start()
		if err == nil {
			t.Errorf("%s: started", name)
		} else if strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: %v", name, err)
		}
		_ = s.Close()
	}
}
