package wasim_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net"
	"net/http"
	"os"
	"sync"
	"testing"
	"time"

	"go.mau.fi/whatsmeow"
	"go.mau.fi/whatsmeow/store"
	"go.mau.fi/whatsmeow/types/events"
	waLog "go.mau.fi/whatsmeow/util/log"
	"go.uber.org/goleak"

	"github.com/wafleet/wafleet/shared/wasim"
)

// testSeed gives every server of the process the same root key, because whatsmeow has one for the whole process.
const testSeed = "wasim tests"

// patience bounds every wait. It is long because -race on two shared cores is slow; no test waits it out.
const patience = 60 * time.Second

func TestMain(m *testing.M) {
	if os.Getenv(victimEnv) != "" {
		if err := beVictim(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	var s wasim.Server
	s.Seed = testSeed
	if err := s.Start(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	whatsmeow.WACertPubKey = s.RootKey()
	if err := s.Close(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	// whatsmeow's reader hands a frame over without watching for the end: disconnecting while a frame comes in leaves it
	// behind for ever.
	goleak.VerifyTestMain(m, goleak.IgnoreAnyFunction("go.mau.fi/whatsmeow/socket.(*FrameSocket).readPump"))
}

// start starts a server with the test seed. It shares no app state: whatsmeow fetches that in the background, and races
// with itself for the fields of the store if the device logs out meanwhile. And it leaves closing after a last stanza to
// the client, unless the test asks for briskly: whatsmeow also races with itself if both sides close at once.
func start(tb testing.TB, set ...func(*wasim.Server)) *wasim.Server {
	tb.Helper()
	s := &wasim.Server{Seed: testSeed, FewPreKeys: true, NoAppState: true, FinalDelay: time.Minute}
	for _, f := range set {
		f(s)
	}
	if err := s.Start(); err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		if err := s.Close(); err != nil {
			tb.Error(err)
		}
	})
	return s
}

// briskly closes after a last stanza as soon as WhatsApp does, for a test that waits for Disconnected.
func briskly(s *wasim.Server) { s.FinalDelay = 0 }

// transport sends everything to the server.
func transport(s *wasim.Server) *http.Transport { return transportTo(s.DialAddr(), s.CAPEM()) }

func transportTo(addr string, caPEM []byte) *http.Transport {
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(caPEM)
	return &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, "tcp", addr)
		},
		TLSClientConfig: &tls.Config{RootCAs: pool},
	}
}

// client is an unmodified whatsmeow client and the events that it has emitted.
type client struct {
	*whatsmeow.Client
	tb     testing.TB
	swept  <-chan struct{} // of its store
	sweep  sync.Once
	events chan any
	once   sync.Once
}

// newClient makes a client of s. It does not reconnect by itself unless the test asks it to.
func newClient(tb testing.TB, s *wasim.Server, dev *store.Device) *client {
	tb.Helper()
	var log waLog.Logger = waLog.Noop
	if os.Getenv("WASIM_TEST_LOG") != "" {
		log = waLog.Stdout("client", os.Getenv("WASIM_TEST_LOG"), false)
	}
	c := &client{Client: whatsmeow.NewClient(dev, log), tb: tb, swept: dev.PrivacyTokens.(*memStore).swept, events: make(chan any, 4096)}
	tr := transport(s)
	h := &http.Client{Transport: tr}
	c.SetWebsocketHTTPClient(h)
	c.SetPreLoginHTTPClient(h)
	c.EnableAutoReconnect = false
	c.EmitAppStateEventsOnFullSync = true
	c.AddEventHandler(func(e any) {
		select {
		case c.events <- e:
		default:
		}
	})
	tb.Cleanup(c.close)
	return c
}

// close disconnects, unless the far side has: whatsmeow races with itself where it is told to while it does so anyway.
func (c *client) close() {
	c.once.Do(func() {
		//lint:ignore SA1019 whatsmeow offers no other way to keep a client from connecting again
		c.DangerousInternals().ExpectDisconnect()
		if c.IsConnected() {
			c.Disconnect()
		}
	})
}

// await returns the next event of type T, skipping others.
func await[T any](c *client) T {
	c.tb.Helper()
	timeout := time.NewTimer(patience)
	defer timeout.Stop()
	for {
		select {
		case e := <-c.events:
			if want, ok := e.(T); ok {
				return want
			}
		case <-timeout.C:
			var want T
			c.tb.Fatalf("no %T in %v", want, patience)
		}
	}
}

// online waits for Connected, and for what whatsmeow does with the store in the background at its first login: a test
// that goes on to delete the device would race with it.
func (c *client) online() {
	c.tb.Helper()
	await[*events.Connected](c)
	c.sweep.Do(func() {
		select {
		case <-c.swept:
		case <-time.After(patience):
			c.tb.Error("whatsmeow did not sweep its privacy tokens")
		}
	})
}

func (c *client) connect() {
	c.tb.Helper()
	if err := c.Connect(); err != nil {
		c.tb.Fatal(err)
	}
}

// pair pairs the client by QR code and waits until it is connected.
func pair(tb testing.TB, s *wasim.Server, number string) (*client, string) {
	tb.Helper()
	c := newClient(tb, s, newMemDevice())
	c.connect()
	qr := await[*events.QR](c)
	jid, err := s.Scan(number, qr.Codes[0])
	if err != nil {
		tb.Fatal(err)
	}
	await[*events.PairSuccess](c)
	c.online()
	return c, jid
}

// expect waits for an event of the server after seq.
func expect(tb testing.TB, s *wasim.Server, seq uint64, kind wasim.Kind) wasim.Event {
	tb.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	e, err := s.WaitEventSince(ctx, seq, func(e wasim.Event) bool { return e.Kind == kind })
	if err != nil {
		tb.Fatalf("no %s: %v\n%v", kind, err, s.Events())
	}
	return e
}

// copyOf is the same device in a second process that has read the same store.
func copyOf(dev *store.Device) *store.Device {
	twin := *dev
	return &twin
}

// freezer makes connections that can stop reading and writing, as those of a stopped process do.
type freezer struct {
	tb     testing.TB
	s      *wasim.Server
	frozen chan struct{} // closed by freeze
	cutOff chan struct{} // closed by cut
	once   sync.Once
}

func newFreezer(tb testing.TB, s *wasim.Server) *freezer {
	f := &freezer{tb: tb, s: s, frozen: make(chan struct{}), cutOff: make(chan struct{})}
	tb.Cleanup(f.cut)
	return f
}

func (f *freezer) freeze() { close(f.frozen) }

// cut lets whoever is stuck in a frozen connection fail.
func (f *freezer) cut() { f.once.Do(func() { close(f.cutOff) }) }

func (c *client) useFreezer(f *freezer) {
	tr := transport(f.s)
	dial := tr.DialContext
	tr.DialContext = func(ctx context.Context, network, addr string) (net.Conn, error) {
		conn, err := dial(ctx, network, addr)
		if err != nil {
			return nil, err
		}
		return &frozenConn{Conn: conn, f: f}, nil
	}
	c.SetWebsocketHTTPClient(&http.Client{Transport: tr})
}

type frozenConn struct {
	net.Conn
	f *freezer
}

func (c *frozenConn) stuck() bool {
	select {
	case <-c.f.frozen:
		<-c.f.cutOff
		return true
	default:
		return false
	}
}

func (c *frozenConn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	if c.stuck() {
		return 0, net.ErrClosed
	}
	return n, err
}

func (c *frozenConn) Write(p []byte) (int, error) {
	if c.stuck() {
		return 0, net.ErrClosed
	}
	return c.Conn.Write(p)
}
