package e2e

import (
	"net"
	"net/url"
	"sync"
)

// relay is a way to Postgres that a test passes on by itself, as it wants to.
type relay struct {
	listener net.Listener
	through  string // the database's URL on this way
	copies   sync.WaitGroup
}

// relay serves every connection with its counterpart at Postgres; serve starts
// what copies between them, in copies, and does not wait for it. The caller
// closes the listener and waits for the copies.
func (s *system) relay(serve func(r *relay, near, far net.Conn)) *relay {
	s.Helper()
	u, err := url.Parse(s.url)
	if err != nil {
		s.Fatal(err)
	}
	r := &relay{}
	if r.listener, err = net.Listen("tcp", "127.0.0.1:0"); err != nil {
		s.Fatal(err)
	}
	upstream := u.Host
	u.Host = r.listener.Addr().String()
	r.through = u.String()
	r.copies.Go(func() {
		for {
			near, err := r.listener.Accept()
			if err != nil {
				return
			}
			far, err := net.Dial("tcp", upstream)
			if err != nil {
				near.Close()
				continue
			}
			serve(r, near, far)
		}
	})
	return r
}
