package whatsapp

import (
	"errors"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/wafleet/wafleet/connector/event"
	"github.com/wafleet/wafleet/shared/session"
)

// proxy is a tiny CONNECT proxy that leads everything to one address.
type proxy struct {
	listener net.Listener
	to       string
	all      sync.WaitGroup

	mu    sync.Mutex
	asked []string   // guarded by mu: host and credentials of every CONNECT
	open  []net.Conn // guarded by mu
}

func startProxy(t *testing.T, to string) *proxy {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &proxy{listener: listener, to: to}
	server := &http.Server{Handler: p}
	p.all.Go(func() { server.Serve(listener) })
	t.Cleanup(func() {
		server.Close()
		p.cut()
		p.all.Wait()
	})
	return p
}

func (p *proxy) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	p.mu.Lock()
	p.asked = append(p.asked, r.Method+" "+r.Host+" "+r.Header.Get("Proxy-Authorization"))
	p.mu.Unlock()
	far, err := net.Dial("tcp", p.to)
	if err != nil {
		http.Error(w, "", http.StatusBadGateway)
		return
	}
	near, _, err := w.(http.Hijacker).Hijack()
	if err != nil {
		far.Close()
		return
	}
	p.mu.Lock()
	p.open = append(p.open, near, far)
	p.mu.Unlock()
	io.WriteString(near, "HTTP/1.1 200 OK\r\n\r\n")
	p.all.Go(func() { io.Copy(far, near); far.Close() })
	p.all.Go(func() { io.Copy(near, far); near.Close() })
}

// cut ends every tunnel.
func (p *proxy) cut() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, conn := range p.open {
		conn.Close()
	}
}

func (p *proxy) requests() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.asked
}

func TestASessionWithAProxyNeverGoesAroundIt(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	p := startProxy(t, r.sim.DialAddr())
	h, err := r.as(func(term *Term) {
		term.Config.Proxy = &session.Proxy{Server: "http://" + p.listener.Addr().String(), Username: "user", Password: "s3cr3t"}
	})
	r.must(err)
	jid := h.pair("5511999999999")
	h.login(jid)
	const want = "CONNECT web.whatsapp.com:443 Basic dXNlcjpzM2NyM3Q=" // user:s3cr3t
	if got := p.requests(); len(got) != 2 || got[0] != want || got[1] != want {
		t.Errorf("%q", got)
	}
	// A proxy that goes takes the connection along.
	p.cut()
	await[event.Disconnected](h)
	p.listener.Close()
	before := r.sim.Stats().Handshakes
	_, err = h.Connect(t.Context(), jid, func(event.Event) {})
	if err == nil || strings.Contains(err.Error(), "s3cr3t") {
		t.Errorf("%v", err)
	}
	if got := r.sim.Stats().Handshakes; got != before {
		t.Error("went around a proxy that is down")
	}
}

func TestAProxyThatRefuses(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	p := startProxy(t, "127.0.0.1:1")
	for _, scheme := range []string{"http", "https"} {
		h, err := r.as(func(term *Term) {
			term.Config.Proxy = &session.Proxy{Server: scheme + "://" + p.listener.Addr().String(), Username: "user", Password: "s3cr3t"}
		})
		r.must(err)
		if _, err := h.Connect(t.Context(), "", func(event.Event) {}); err == nil || strings.Contains(err.Error(), "s3cr3t") {
			t.Errorf("%s: %v", scheme, err)
		}
	}
	if got := r.sim.Stats().Handshakes; got != 0 {
		t.Errorf("%d handshakes", got)
	}
	if contains(r.log.String(), "s3cr3t") {
		t.Errorf("log:\n%s", r.log.String())
	}
}

func TestEnvironmentProxiesAreForWhatsAppItself(t *testing.T) {
	t.Parallel()
	inner := func(c *http.Client) *http.Transport { return c.Transport.(uncompressed).next.(*http.Transport) }
	if real := newTransports(Endpoint{}); inner(real.direct).Proxy == nil {
		t.Error("WhatsApp itself is not reached by the proxy of the environment")
	}
	override := newTransports(Endpoint{DialAddr: "127.0.0.1:1"})
	if inner(override.direct).Proxy != nil {
		t.Error("an override goes through the proxy of the environment")
	}
	own := *override.clientFor(&session.Proxy{Server: "http://h:1"})
	own.Transport = own.Transport.(discreet).next
	got, err := inner(&own).Proxy(&http.Request{URL: &url.URL{Scheme: "https", Host: "web.whatsapp.com"}})
	if err != nil || got.String() != "http://h:1" {
		t.Errorf("%v, %v", got, err)
	}
	if same := override.clientFor(nil); same != override.direct {
		t.Errorf("%v", same)
	}
}

type roundTrip func(*http.Request) (*http.Response, error)

func (f roundTrip) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

func TestCompressionIsNotOffered(t *testing.T) {
	t.Parallel()
	stop := errors.New("seen")
	for _, offer := range []string{"permessage-deflate; client_max_window_bits", ""} {
		request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "https://web.whatsapp.com/ws/chat", nil)
		if err != nil {
			t.Fatal(err)
		}
		request.Header.Set("Origin", "x")
		if offer != "" {
			request.Header.Set("Sec-WebSocket-Extensions", offer)
		}
		_, err = uncompressed{roundTrip(func(r *http.Request) (*http.Response, error) {
			if len(r.Header.Values("Sec-WebSocket-Extensions")) > 0 || r.Header.Get("Origin") != "x" {
				t.Errorf("sent %v", r.Header)
			}
			return nil, stop
		})}.RoundTrip(request)
		if !errors.Is(err, stop) || request.Header.Get("Sec-WebSocket-Extensions") != offer {
			t.Errorf("%v; the caller's request has %v", err, request.Header)
		}
	}
}

func TestSocketsOfAnEndedConnection(t *testing.T) {
	t.Parallel()
	over := false
	s := newSockets(func() error {
		if over {
			return session.ErrFenced
		}
		return nil
	})
	near, far := net.Pipe()
	defer far.Close()
	conn, err := s.adopt(near)
	if err != nil {
		t.Fatal(err)
	}
	over = true
	if _, err := conn.Write([]byte("x")); !errors.Is(err, session.ErrFenced) {
		t.Errorf("write: %v", err)
	}
	if _, err := conn.Read(make([]byte, 1)); err == nil {
		t.Error("a refused write leaves the socket open")
	}
	conn.Close()
	s.drain(settle)
	s.close()
	late, other := net.Pipe()
	defer other.Close()
	if conn, err := s.adopt(late); !errors.Is(err, net.ErrClosed) || conn != nil {
		t.Errorf("adopted %v, %v", conn, err)
	}
	if _, err := late.Write([]byte("x")); err == nil {
		t.Error("a late socket stays open")
	}
}

// TestDrainWaitsForTheReader proves that data which was read is handed over before drain returns.
func TestDrainWaitsForTheReader(t *testing.T) {
	t.Parallel()
	s := newSockets(func() error { return nil })
	near, far := net.Pipe()
	defer far.Close()
	conn, err := s.adopt(near)
	if err != nil {
		t.Fatal(err)
	}
	frames, read := make(chan byte), make(chan struct{})
	var reader sync.WaitGroup
	reader.Go(func() {
		b := make([]byte, 1)
		for {
			if _, err := conn.Read(b); err != nil {
				return
			}
			close(read)
			frames <- b[0]
		}
	})
	if _, err := far.Write([]byte("x")); err != nil {
		t.Fatal(err)
	}
	<-read
	drained := make(chan struct{})
	go func() { s.drain(patience); close(drained) }()
	<-s.draining
	select {
	case <-drained:
		t.Error("drained while the reader holds a frame")
	case got := <-frames:
		if got != 'x' {
			t.Errorf("frame %q", got)
		}
	}
	<-drained
	s.close()
	reader.Wait()
}

// held is a socket whose handshake is in its last step, and what its reader got.
func held(t *testing.T) (s *sockets, far net.Conn, reads <-chan error) {
	t.Helper()
	s = newSockets(func() error { return nil })
	near, far := net.Pipe()
	conn, err := s.adopt(near)
	if err != nil {
		t.Fatal(err)
	}
	s.unsettle()
	results := make(chan error, 1)
	go func() {
		_, err := conn.Read(make([]byte, 1))
		results <- err
	}()
	return s, far, results
}

func TestWhatComesBeforeTheReaderIsReadyIsHeld(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s, far, reads := held(t)
		if _, err := far.Write([]byte("x")); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		if len(reads) > 0 {
			t.Error("handed over before the reader is ready")
		}
		s.settle()
		if err := <-reads; err != nil {
			t.Error(err)
		}
		s.drain(settle)
		s.close()
	})
}

func TestWhatIsHeldGoesWithTheConnection(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s, far, reads := held(t)
		if _, err := far.Write([]byte("x")); err != nil {
			t.Fatal(err)
		}
		began := time.Now()
		s.drain(settle)
		if time.Since(began) > 0 || len(reads) > 0 {
			t.Errorf("drained after %v, %d reads", time.Since(began), len(reads))
		}
		s.close()
		if err := <-reads; !errors.Is(err, net.ErrClosed) {
			t.Errorf("read: %v", err)
		}
	})
}

func TestTheLastByteHeard(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newSockets(func() error { return nil })
		near, far := net.Pipe()
		conn, err := s.adopt(near)
		if err != nil {
			t.Fatal(err)
		}
		if got := s.lastHeard(); !got.IsZero() {
			t.Errorf("heard at %v before the first byte", got)
		}
		for range 3 {
			time.Sleep(time.Minute)
			go far.Write([]byte("x"))
			if _, err := conn.Read(make([]byte, 1)); err != nil {
				t.Fatal(err)
			}
			if got := s.lastHeard(); got != time.Now() {
				t.Errorf("heard at %v, want %v", got, time.Now())
			}
		}
		want := time.Now()
		time.Sleep(time.Minute)
		go far.Close()
		if _, err := conn.Read(make([]byte, 1)); err == nil {
			t.Error("read from a closed connection")
		}
		if got := s.lastHeard(); got != want {
			t.Errorf("heard at %v, want %v: an end is no sign of life", got, want)
		}
	})
}
