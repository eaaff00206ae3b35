package wasim

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"
)

// Errors of the server's life.
var (
	ErrClosed         = errors.New("wasim is closed")
	errAlreadyStarted = errors.New("wasim was started before")
)

// Server is the simulator. Set the fields before Start and leave them alone afterwards; the zero value is ready. All
// methods may be called from any goroutine once Start has returned.
type Server struct {
	Addr       string   // where to listen; "127.0.0.1:0" if empty
	ExtraHosts []string // names and addresses, beside web.whatsapp.com, localhost and 127.0.0.1, that the certificate is for

	// Seed makes every key a function of it, the Noise root key and the CA key included. Empty is random, or, with a
	// StateFile that exists, what that file holds.
	Seed string
	// StateFile keeps the devices, the seed, the CA and the port, so that clients configured against one run work with
	// the next. Empty keeps nothing. Only one server may use a file at a time.
	StateFile string

	RefCount     int           // QR refs per registration; 6 if 0, as WhatsApp
	QRTimeout    time.Duration // life of a registration; 165 s if 0: whatsmeow shows 6 codes for 160 s
	FinalDelay   time.Duration // between writing a last stanza and closing; 250 ms if 0, none if negative (whatsmeow may then lose the stanza)
	OverlapGrace time.Duration // see the package comment; 150 ms if 0
	PairTimeout  time.Duration // how long Scan and LinkCode wait for the client; 15 s if 0
	FewPreKeys   bool          // tell new clients that they have one pre-key, so that they upload 50 instead of 812
	NoAppState   bool          // the phone shares no app state after pairing, so the client gets no push name
	PushName     string        // what the phones call themselves; "wasim NUMBER" if empty
	Revision     uint32        // client revision that the web page announces; DefaultRevision if 0
	EventLimit   int           // events that the ring holds; 8192 if 0
	Logger       *slog.Logger  // nil discards. No key, code or ref is ever logged

	ctx       context.Context
	cancel    context.CancelCauseFunc
	listener  net.Listener
	http      *http.Server
	served    sync.WaitGroup // the accept loop
	work      sync.WaitGroup // connections and everything spawned
	seed      seed
	caPEM     []byte
	noise     *noiseServer
	timeline  timeline
	saver     saver
	latency   atomic.Int64 // one-way, of what the server sends
	slow      atomic.Int64 // before the server's half of the handshake
	lastConn  atomic.Uint64
	lastShare atomic.Uint64

	mu        sync.Mutex
	started   bool
	closed    bool
	conns     map[*conn]struct{}
	devices   map[[32]byte]*device // by noise public key
	lastIndex map[string]uint16    // by number: the newest device number
	refs      map[string]*conn     // by QR ref
	fails     []*forcedFailure
	poisons   []*poison
	refusal   refusal
	minimum   version
	changed   chan struct{} // closed and replaced when something a waiter may want has happened
}

// Start listens and serves until Close.
func (s *Server) Start() error {
	if err := s.prepare(); err != nil {
		return err
	}
	ln, err := s.listen()
	if err != nil {
		return err
	}
	config, err := newTLSConfig(s.seed, s.caPEM, s.ExtraHosts...)
	if err != nil {
		return errors.Join(err, ln.Close())
	}
	s.listener = ln
	s.http = &http.Server{
		Handler:           s.routes(),
		ReadHeaderTimeout: 30 * time.Second,
		ErrorLog:          log.New(io.Discard, "", 0),
		BaseContext:       func(net.Listener) context.Context { return s.ctx },
		ConnContext:       rememberConn,
	}
	s.served.Go(func() { _ = s.http.Serve(tls.NewListener(refusingListener{ln, s}, config)) })
	if s.StateFile != "" {
		s.work.Go(func() { s.saver.run(s.ctx) })
		if err := s.persist(s.ctx); err != nil {
			_ = s.Close() // would only fail to write again
			return err
		}
	}
	s.Logger.Info("wasim listens", "addr", s.DialAddr())
	return nil
}

// prepare fills the defaults and reads the state.
func (s *Server) prepare() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.started {
		return errAlreadyStarted
	}
	s.started = true
	s.defaults()
	s.ctx, s.cancel = context.WithCancelCause(context.Background())
	s.conns = make(map[*conn]struct{})
	s.devices = make(map[[32]byte]*device)
	s.lastIndex = make(map[string]uint16)
	s.refs = make(map[string]*conn)
	s.changed = make(chan struct{})
	s.timeline.limit = s.EventLimit
	s.saver.init(s)
	if err := s.loadState(); err != nil {
		return err
	}
	var err error
	s.noise, err = newNoiseServer(s.seed)
	return err
}

func (s *Server) defaults() {
	orDuration := func(d *time.Duration, value time.Duration) {
		if *d == 0 {
			*d = value
		}
	}
	orDuration(&s.QRTimeout, 165*time.Second)
	orDuration(&s.FinalDelay, 250*time.Millisecond)
	orDuration(&s.OverlapGrace, 150*time.Millisecond)
	orDuration(&s.PairTimeout, 15*time.Second)
	s.FinalDelay = max(s.FinalDelay, 0)
	s.OverlapGrace = max(s.OverlapGrace, 0)
	if s.RefCount <= 0 {
		s.RefCount = 6
	}
	if s.EventLimit <= 0 {
		s.EventLimit = 8192
	}
	if s.Revision == 0 {
		s.Revision = DefaultRevision
	}
	if s.Logger == nil {
		s.Logger = slog.New(slog.DiscardHandler)
	}
}

// listen opens the port: the one asked for, else the one that the state remembers, else any.
func (s *Server) listen() (net.Listener, error) {
	addr := s.Addr
	if addr == "" {
		addr = "127.0.0.1:0"
	}
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		return nil, fmt.Errorf("listen: %w", err)
	}
	if _, old, err := net.SplitHostPort(s.saver.addr); err == nil && port == "0" {
		if ln, err := net.Listen("tcp", net.JoinHostPort(host, old)); err == nil {
			return ln, nil
		}
	}
	ln, err := net.Listen("tcp", addr)
	if err != nil {
		return nil, fmt.Errorf("listen: %w", err)
	}
	return ln, nil
}

// Close ends every connection, waits for every goroutine and writes the state. It may be called more than once.
func (s *Server) Close() error {
	s.mu.Lock()
	if !s.started || s.closed || s.http == nil {
		s.closed = true
		s.mu.Unlock()
		return nil
	}
	s.closed = true
	conns := make([]*conn, 0, len(s.conns))
	for c := range s.conns {
		conns = append(conns, c)
	}
	s.mu.Unlock()

	err := s.http.Close()
	s.served.Wait()
	for _, c := range conns {
		c.kill(ErrClosed)
	}
	s.cancel(ErrClosed)
	s.work.Wait()
	if s.StateFile != "" {
		err = errors.Join(err, s.saver.write())
	}
	return err
}

// spawn runs f in a goroutine that Close waits for. It reports false, and runs nothing, after Close.
func (s *Server) spawn(f func()) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return false
	}
	s.work.Go(f)
	return true
}

// DialAddr is the host:port to dial instead of web.whatsapp.com:443.
func (s *Server) DialAddr() string { return s.listener.Addr().String() }

// CAPEM is the certificate of the authority that signed the server's, PEM encoded.
func (s *Server) CAPEM() []byte { return append([]byte(nil), s.caPEM...) }

// RootKey replaces whatsmeow.WACertPubKey in a client of this server.
func (s *Server) RootKey() [32]byte { return *s.noise.root.Pub }

// RootKeyHex is RootKey in 64 hex digits.
func (s *Server) RootKeyHex() string { return fmt.Sprintf("%x", s.RootKey()) }
