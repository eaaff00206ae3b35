package whatsapp

import (
	"context"
	"net"
	"sync"
)

// Fence says whether a term goes on: nil, or why it has ended. It is asked
// before every write and must be cheap.
type Fence func() error

// sockets are the TCP connections that one Conn opened. Closing them ends the
// connection at once, whatever lock a library holds.
type sockets struct {
	held Fence

	mu     sync.Mutex
	open   map[*socket]bool // guarded by mu
	closed bool             // guarded by mu
}

type socketsKey struct{}

func newSockets(held Fence) *sockets { return &sockets{held: held, open: map[*socket]bool{}} }

// in returns a context whose dials belong to these sockets.
func (s *sockets) in(ctx context.Context) context.Context {
	return context.WithValue(ctx, socketsKey{}, s)
}

// adopt wraps a fresh connection, or closes it where the owner is closed.
func (s *sockets) adopt(conn net.Conn) (net.Conn, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		conn.Close()
		return nil, net.ErrClosed
	}
	owned := &socket{Conn: conn, owner: s}
	s.open[owned] = true
	return owned, nil
}

// close ends every socket now and refuses later ones.
func (s *sockets) close() {
	s.mu.Lock()
	s.closed = true
	open := s.open
	s.open = nil
	s.mu.Unlock()
	for conn := range open {
		conn.Conn.Close()
	}
}

// socket refuses to write once the term has ended.
type socket struct {
	net.Conn
	owner *sockets
}

func (c *socket) Write(b []byte) (int, error) {
	if err := c.owner.held(); err != nil {
		c.Conn.Close()
		return 0, err
	}
	return c.Conn.Write(b)
}

func (c *socket) Close() error {
	c.owner.mu.Lock()
	delete(c.owner.open, c)
	c.owner.mu.Unlock()
	return c.Conn.Close()
}
