package store

import (
	"context"
	"net"
	"sync/atomic"
	"time"
)

// patientDialer makes connections that give up on a server which is connected
// and says nothing. The driver reads without a deadline, and ending a context
// only asks the server to cancel: behind a network that swallows packets both
// wait for ever.
type patientDialer struct {
	answer time.Duration // how long one read may wait; negative: for ever
	held   func() error  // nil: always
}

func (d patientDialer) Dial(network, address string) (net.Conn, error) {
	return d.DialContext(context.Background(), network, address)
}

func (d patientDialer) DialTimeout(network, address string, timeout time.Duration) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(context.Background(), timeout)
	defer cancel()
	return d.DialContext(ctx, network, address)
}

func (d patientDialer) DialContext(ctx context.Context, network, address string) (net.Conn, error) {
	if d.held != nil {
		if err := d.held(); err != nil {
			return nil, err
		}
	}
	var dialer net.Dialer
	conn, err := dialer.DialContext(ctx, network, address)
	if err != nil {
		return nil, err
	}
	if d.answer >= 0 {
		conn = &boundedConn{Conn: conn, answer: d.answer}
	}
	if d.held != nil {
		conn = heldConn{conn, d.held}
	}
	return conn, nil
}

// heldConn writes only while its owner may act.
type heldConn struct {
	net.Conn
	held func() error
}

func (c heldConn) Write(b []byte) (int, error) {
	if err := c.held(); err != nil {
		c.Conn.Close()
		return 0, err
	}
	return c.Conn.Write(b)
}

// boundedConn bounds every read that the driver has not bounded itself.
type boundedConn struct {
	net.Conn
	answer time.Duration
	own    atomic.Bool // the driver set a deadline
}

func (c *boundedConn) Read(b []byte) (int, error) {
	if !c.own.Load() {
		if err := c.Conn.SetReadDeadline(time.Now().Add(c.answer)); err != nil {
			return 0, err
		}
	}
	return c.Conn.Read(b)
}

func (c *boundedConn) SetDeadline(t time.Time) error {
	c.own.Store(!t.IsZero())
	return c.Conn.SetDeadline(t)
}

func (c *boundedConn) SetReadDeadline(t time.Time) error {
	c.own.Store(!t.IsZero())
	return c.Conn.SetReadDeadline(t)
}
