package wasim_test

import (
	"context"
	"errors"
	"net/http"
	"path/filepath"
	"testing"
	"time"

	"go.mau.fi/whatsmeow/socket"
	"go.mau.fi/whatsmeow/types"
	"go.mau.fi/whatsmeow/types/events"

	"github.com/wafleet/wafleet/shared/wasim"
)

func TestDropModes(t *testing.T) {
	t.Parallel()
	for _, mode := range []wasim.DropMode{wasim.DropFin, wasim.DropRST, wasim.DropClose} {
		t.Run(string(mode), func(t *testing.T) {
			t.Parallel()
			s := start(t)
			c, jid := pair(t, s, "5511900000100")
			seq := s.LastSeq()
			if n, err := s.Drop(jid, mode); err != nil || n != 1 {
				t.Fatal(n, err)
			}
			await[*events.Disconnected](c)
			if e := expect(t, s, seq, wasim.EventClosed); e.Detail != "dropped: "+string(mode) || e.JID != jid {
				t.Fatalf("%+v", e)
			}
			c.connect()
			c.online()
			if st := s.Stats(); st.MaxSocketsPerDevice != 1 {
				t.Fatalf("%+v", st)
			}
		})
	}
}

func TestSilence(t *testing.T) {
	t.Parallel()
	for _, mode := range []wasim.SilenceMode{wasim.SilenceMute, wasim.SilenceFreeze} {
		t.Run(string(mode), func(t *testing.T) {
			t.Parallel()
			s := start(t)
			c, jid := pair(t, s, "5511900000101")
			if n, err := s.Silent(jid, mode); err != nil || n != 1 {
				t.Fatal(n, err)
			}
			ctx, cancel := context.WithTimeout(context.Background(), 200*time.Millisecond)
			defer cancel()
			if err := c.SetPassive(ctx, false); !errors.Is(err, context.DeadlineExceeded) {
				t.Fatalf("a silent server answered: %v", err)
			}
			if _, err := s.Silent("", wasim.SilenceOff); err != nil {
				t.Fatal(err)
			}
			if err := c.SetPassive(context.Background(), false); err != nil {
				t.Fatal(err)
			}
		})
	}
}

func TestStreamError(t *testing.T) {
	t.Parallel()
	s := start(t, briskly)
	c, jid := pair(t, s, "5511900000102")
	if n, err := s.StreamError(jid, "599"); err != nil || n != 1 {
		t.Fatal(n, err)
	}
	if e := await[*events.StreamError](c); e.Code != "599" {
		t.Fatalf("%+v", e)
	}
	await[*events.Disconnected](c)
}

// TestFinalDelayBeginsWithTheWrite: a last stanza that had to wait its turn is no
// nearer to the end of the connection than any other.
func TestFinalDelayBeginsWithTheWrite(t *testing.T) {
	t.Parallel()
	const delay = 500 * time.Millisecond
	s := start(t, func(s *wasim.Server) { s.FinalDelay = delay })
	c, jid := pair(t, s, "5511900000108")
	s.SetLatency(2*delay, 0)
	seq := s.LastSeq()
	s.Notify(jid, "first")
	s.SetLatency(0, 0)
	if n, err := s.StreamError(jid, "599"); err != nil || n != 1 {
		t.Fatal(n, err)
	}
	await[*events.StreamError](c)
	told := time.Now()
	if left := expect(t, s, seq, wasim.EventClosed).Time.Sub(told); left < delay/2 {
		t.Fatalf("closed %v after the last stanza, want %v", left, delay)
	}
	await[*events.Disconnected](c)
}

func TestRefuse(t *testing.T) {
	t.Parallel()
	s := start(t)
	c, _ := pair(t, s, "5511900000103")
	c.Disconnect()
	for _, mode := range []wasim.RefuseMode{wasim.RefuseClose, wasim.RefuseHTTP} {
		if err := s.Refuse(mode, 1); err != nil {
			t.Fatal(err)
		}
		if err := c.Connect(); !errors.Is(err, socket.ErrDialFailed) {
			t.Fatalf("%s: %v", mode, err)
		}
	}
	c.connect()
	c.online()
}

func TestRefuseByHanging(t *testing.T) {
	t.Parallel()
	s := start(t)
	c, _ := pair(t, s, "5511900000104")
	c.Disconnect()
	if err := s.Refuse(wasim.RefuseHang, 0); err != nil {
		t.Fatal(err)
	}
	h := &http.Client{Transport: transport(s), Timeout: 200 * time.Millisecond}
	c.SetWebsocketHTTPClient(h)
	if err := c.Connect(); !errors.Is(err, socket.ErrDialFailed) {
		t.Fatal(err)
	}
	if err := s.Refuse("off", 0); err != nil {
		t.Fatal(err)
	}
	c.SetWebsocketHTTPClient(&http.Client{Transport: transport(s)})
	c.connect()
	c.online()
}

func TestLatency(t *testing.T) {
	t.Parallel()
	s := start(t)
	c, _ := pair(t, s, "5511900000105")
	c.Disconnect()
	s.SetLatency(50*time.Millisecond, 100*time.Millisecond)
	began := time.Now()
	c.connect()
	if took := time.Since(began); took < 150*time.Millisecond {
		t.Fatalf("handshake took %v", took)
	}
	c.online()
	// success and the answer to at least the first and the last request
	if took := time.Since(began); took < 300*time.Millisecond {
		t.Fatalf("login took %v", took)
	}
}

func TestQRTimeout(t *testing.T) {
	t.Parallel()
	s := start(t, func(s *wasim.Server) { s.QRTimeout = 100 * time.Millisecond; s.RefCount = 3 })
	c := newClient(t, s, newMemDevice())
	c.connect()
	if qr := await[*events.QR](c); len(qr.Codes) != 3 {
		t.Fatalf("%d codes", len(qr.Codes))
	}
	await[*events.Disconnected](c)
	expect(t, s, 0, wasim.EventRefsExpired)
}

func TestRejectedPairing(t *testing.T) {
	t.Parallel()
	s := start(t)
	c := newClient(t, s, newMemDevice())
	c.PrePairCallback = func(types.JID, string, string) bool { return false }
	c.connect()
	qr := await[*events.QR](c)
	if _, err := s.Scan("5511900000106", qr.Codes[0]); !errors.Is(err, wasim.ErrRejected) {
		t.Fatal(err)
	}
	await[*events.PairError](c)
	if e := expect(t, s, 0, wasim.EventPairRejected); e.JID == "" {
		t.Fatalf("%+v", e)
	}
	if st := s.Stats(); st.PairRejected != 1 || st.Paired != 0 || st.Devices != 0 {
		t.Fatalf("%+v", st)
	}
}

// A simulator that is started again on the same state file is the same to its clients: devices, CA, root key, address.
func TestStateFile(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "state.json")
	first := &wasim.Server{Seed: testSeed, FewPreKeys: true, NoAppState: true, StateFile: file}
	if err := first.Start(); err != nil {
		t.Fatal(err)
	}
	c, jid := pair(t, first, "5511900000107")
	c.Disconnect()
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}

	second := start(t, func(s *wasim.Server) { s.StateFile = file })
	if second.DialAddr() != first.DialAddr() || second.RootKey() != first.RootKey() || string(second.CAPEM()) != string(first.CAPEM()) {
		t.Fatal("another address, key or CA")
	}
	c.connect() // its transport was made for the first
	c.online()
	if d := second.Devices(); len(d) != 1 || d[0].JID != jid || d[0].PreKeys < 5 {
		t.Fatalf("%+v", d)
	}
	_, next := pair(t, second, "5511900000107")
	if next != "5511900000107:2@s.whatsapp.net" {
		t.Fatalf("device number reused: %s", next)
	}

	other := &wasim.Server{Seed: "another", StateFile: file}
	if err := other.Start(); err == nil {
		_ = other.Close()
		t.Fatal("started on the state of another seed")
	}
}
