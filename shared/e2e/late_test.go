package e2e

import (
	"bytes"
	"io"
	"net"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/wafleet/wafleet/shared/session"
	"github.com/wafleet/wafleet/shared/wasim"
)

// partition is a way to Postgres that breaks when a connector sends a certain
// statement: from there on nothing of what it sends arrives, the ends of
// connections included, until the way is mended. Then all of it does, as with a
// network that comes back while the kernel still sends again.
type partition struct {
	*system
	relay  *relay
	broken chan struct{} // closed by the statement
	mended chan struct{} // closed by mend
	mend   func()
	once   sync.Once

	mu   sync.Mutex
	mark []byte // guarded by mu; nil: any statement passes
}

func (s *system) partition() *partition {
	s.Helper()
	p := &partition{system: s, broken: make(chan struct{}), mended: make(chan struct{})}
	p.mend = sync.OnceFunc(func() { close(p.mended) })
	p.relay = s.relay(func(r *relay, near, far net.Conn) {
		r.copies.Go(func() { p.send(far, near) })
		r.copies.Go(func() {
			defer near.Close()
			_, _ = io.Copy(near, far)
		})
	})
	s.Cleanup(func() { // after the connectors have ended
		p.mend()
		p.relay.listener.Close()
		p.relay.copies.Wait()
	})
	return p
}

func (p *partition) send(far, near net.Conn) {
	defer far.Close()
	buffer := make([]byte, 64<<10)
	for {
		n, err := near.Read(buffer)
		p.pass(buffer[:n])
		if _, failed := far.Write(buffer[:n]); err != nil || failed != nil {
			return
		}
	}
}

// pass waits while the way is broken, which it may be from these bytes on.
func (p *partition) pass(sent []byte) {
	p.mu.Lock()
	if p.mark != nil && bytes.Contains(sent, p.mark) {
		p.once.Do(func() { close(p.broken) })
	}
	p.mu.Unlock()
	select {
	case <-p.broken:
		<-p.mended
	default:
	}
}

func (p *partition) breakAt(statement string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.mark = []byte(statement)
}

// TestALateStatementOfAnEndedTermMovesNoRatchet: the connector wrote it while
// it held the session, and Postgres gets it when another has taken over.
func TestALateStatementOfAnEndedTermMovesNoRatchet(t *testing.T) {
	t.Parallel()
	s := newSystem(t, options{sim: delayed(wasim.EventActive)})
	p := s.partition()
	first := s.connector(shortLease, "DATABASE_URL="+p.relay.through)
	s.start("a", postgresStart)
	s.wait("a", session.ScanQRCode)
	s.connector(shortLease)
	s.scan("a", "5511999990571")
	held := s.get("a").text("assignedWorker")
	s.eventually("a message on the way", func() bool { return s.sim.Devices()[0].Queued == 1 })
	p.breakAt("INSERT INTO whatsmeow_sessions (our_jid, their_id, session) VALUES")
	s.sim.SetLatency(0, 0)
	s.eventually("the new ratchet, on its way to the store", func() bool {
		select {
		case <-p.broken:
			return true
		default:
			return false
		}
	})
	first.waitFor("every session is given up")
	s.runsOn("a", func(worker string) bool { return worker != held })
	s.eventually("the phone's key", s.keyShared)
	before := s.deviceRows("session_run", "pairing")

	p.mend()
	s.eventually("the registration of the first connector", func() bool { return s.liveConnectors() == 2 })
	if diff := cmp.Diff(before, s.deviceRows("session_run", "pairing")); diff != "" {
		t.Errorf("a late statement changed rows:\n%s", diff)
	}
}
