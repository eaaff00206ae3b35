package whatsapp

import (
	"context"
	"maps"
	"net"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// Fence says whether a term goes on: nil, or why it has ended. It is asked
// before every write and must be cheap.
type Fence func() error

// sockets are the TCP connections that one Conn opened. Closing them ends the
// connection at once, whatever lock a library holds.
type sockets struct {
	held Fence
	lost func() // called when a socket ends that nobody here has closed; nil: nobody asks
	made time.Time

	heard atomic.Int64 // ns from made to the newest byte that came in; 0: none did

	unsettled *latch        // set: what is read is held until settled
	settled   *latch        // set: the reader may have it
	draining  chan struct{} // closed: nothing is handed up any more
	gone      chan struct{} // closed: every socket is closed

	mu   sync.Mutex
	open map[*socket]bool // guarded by mu; nil once the sockets are closed
}

type socketsKey struct{}

func newSockets(held Fence) *sockets {
	return &sockets{
		held: held, made: time.Now(), unsettled: newLatch(), settled: newLatch(),
		draining: make(chan struct{}), gone: make(chan struct{}), open: map[*socket]bool{},
	}
}

// unsettle holds back whatever is read from now on: between the last message of
// the handshake, which allows the far side to send stanzas, and settle, whoever
// reads them is not ready yet.
func (s *sockets) unsettle() { s.unsettled.set() }

// settle lets the readers go on, also where unsettle was never called.
func (s *sockets) settle() { s.settled.set() }

// passes returns true as soon as what was read may be handed up, and false when
// the sockets are being drained instead.
func (s *sockets) passes() bool {
	if !s.unsettled.isSet() || s.settled.isSet() {
		return true
	}
	select {
	case <-s.settled.c:
		return true
	case <-s.draining:
		return false
	}
}

// hear notes that a byte came in.
func (s *sockets) hear() { s.heard.Store(max(1, int64(time.Since(s.made)))) }

// lastHeard is when a byte last came in, and zero before the first.
func (s *sockets) lastHeard() time.Time {
	since := s.heard.Load()
	if since == 0 {
		return time.Time{}
	}
	return s.made.Add(time.Duration(since))
}

// in returns a context whose dials belong to these sockets.
func (s *sockets) in(ctx context.Context) context.Context {
	return context.WithValue(ctx, socketsKey{}, s)
}

// adopt wraps a fresh connection, or closes it where the owner is ending.
func (s *sockets) adopt(conn net.Conn) (net.Conn, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if isClosed(s.draining) {
		conn.Close()
		return nil, net.ErrClosed
	}
	owned := &socket{Conn: conn, owner: s, idle: make(chan struct{})}
	s.open[owned] = true
	return owned, nil
}

// drain stops handing up what arrives and waits, at most for limit, until every
// reader has come back for more, and so has handed over all it had. It is called
// once, and close must follow: the readers are held until then.
func (s *sockets) drain(limit time.Duration) {
	s.mu.Lock()
	close(s.draining)
	open := slices.Collect(maps.Keys(s.open))
	s.mu.Unlock()
	timer := time.NewTimer(limit)
	defer timer.Stop()
	for _, conn := range open {
		conn.Conn.SetReadDeadline(time.Unix(1, 0)) // wakes the reader
		select {
		case <-conn.idle:
		case <-timer.C:
			return
		}
	}
}

func (s *sockets) anyOpen() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.open) > 0
}

// close ends every socket now.
func (s *sockets) close() {
	s.mu.Lock()
	open := s.open
	s.open = nil
	s.mu.Unlock()
	for conn := range open {
		conn.Conn.Close()
	}
	close(s.gone)
}

// socket refuses to write once the term has ended.
type socket struct {
	net.Conn
	owner *sockets

	lostOnce sync.Once
	idleOnce sync.Once
	idle     chan struct{} // closed when no reader is left outside of Read
}

func (c *socket) Read(b []byte) (int, error) {
	if !isClosed(c.owner.draining) {
		n, err := c.Conn.Read(b)
		if n > 0 {
			c.owner.hear()
		}
		if err != nil {
			c.end()
		}
		if c.owner.passes() && (err == nil || !isClosed(c.owner.draining)) {
			return n, err
		}
	}
	c.setIdle()
	<-c.owner.gone
	return 0, net.ErrClosed
}

func (c *socket) Write(b []byte) (int, error) {
	if err := c.owner.held(); err != nil {
		c.Conn.Close()
		return 0, err
	}
	return c.Conn.Write(b)
}

func (c *socket) Close() error {
	c.end()
	c.owner.mu.Lock()
	delete(c.owner.open, c)
	c.owner.mu.Unlock()
	c.setIdle()
	return c.Conn.Close()
}

// end tells of the end of this socket, once, unless all are being closed.
func (c *socket) end() {
	if c.owner.lost != nil && !isClosed(c.owner.draining) {
		c.lostOnce.Do(c.owner.lost)
	}
}

func (c *socket) setIdle() { c.idleOnce.Do(func() { close(c.idle) }) }

func isClosed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}
