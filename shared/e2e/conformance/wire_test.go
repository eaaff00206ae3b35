package conformance

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"io"
	"net"
	"net/url"
	"sync"
	"sync/atomic"
)

// wire is a way to Postgres that counts what a client waits for. By the
// frontend/backend protocol a client waits after each Sync and each simple
// Query, and nowhere else once it is connected.
type wire struct {
	*system
	url      string
	upstream string

	trips        atomic.Int64
	transactions atomic.Int64 // begun by a statement of their own
	running      sync.WaitGroup
}

func (s *system) newWire() *wire {
	s.Helper()
	u, err := url.Parse(s.url)
	if err != nil {
		s.Fatal(err)
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		s.Fatal(err)
	}
	w := &wire{system: s, upstream: u.Host}
	u.Host = listener.Addr().String()
	w.url = u.String()
	w.running.Go(func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			w.running.Go(func() { w.relay(conn) })
		}
	})
	s.Cleanup(func() {
		listener.Close()
		w.running.Wait() // the client has ended: it was started later
	})
	return w
}

func (w *wire) relay(client net.Conn) {
	defer client.Close()
	server, err := net.Dial("tcp", w.upstream)
	if err != nil {
		w.Errorf("reach Postgres: %v", err)
		return
	}
	defer server.Close()
	var answers sync.WaitGroup
	answers.Go(func() { _, _ = io.Copy(client, server) })
	w.forward(bufio.NewReader(client), server)
	server.Close()
	answers.Wait()
}

// forward passes messages on until one side ends. The first has no type.
func (w *wire) forward(from *bufio.Reader, to io.Writer) {
	for typed := 0; ; typed = 1 {
		head := make([]byte, typed+4)
		if _, err := io.ReadFull(from, head); err != nil {
			return
		}
		message := make([]byte, len(head)+int(binary.BigEndian.Uint32(head[typed:]))-4)
		copy(message, head)
		if _, err := io.ReadFull(from, message[len(head):]); err != nil {
			return
		}
		if typed == 1 {
			w.count(message)
		}
		if _, err := to.Write(message); err != nil {
			return
		}
	}
}

func (w *wire) count(message []byte) {
	switch message[0] {
	case 'S', 'Q':
		w.trips.Add(1)
	}
	if message[0] == 'Q' && bytes.HasPrefix(message[5:], []byte("BEGIN")) {
		w.transactions.Add(1)
	}
}
