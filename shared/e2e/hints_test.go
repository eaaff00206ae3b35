package e2e

import (
	"fmt"
	"net"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/wafleet/wafleet/shared/session"
)

// spy is a way from a connector to Postgres that tells other looks from those
// of the poll, by what the poll is answered, and that can keep the connector from
// listening.
type spy struct {
	*system
	relay *relay

	mu     sync.Mutex
	deaf   bool              // guarded by mu; a connection that listens is closed
	closed bool              // guarded by mu
	open   map[net.Conn]bool // guarded by mu
	polls  int               // guarded by mu
	polled bool              // guarded by mu; a poll waits for its answer
	due    looks             // guarded by mu; looks that the running poll has still to make
	extra  looks             // guarded by mu; looks beside the poll's
}

// looks are for sessions to claim, and for changes of the sessions held. A poll
// makes those that it has found a reason for. Beside it a hint makes one of either;
// so does a session's beginning, for changes, and its end, for another to claim.
type looks struct{ claims, changes int }

func (l looks) atLeast(other looks) bool {
	return l.claims >= other.claims && l.changes >= other.changes
}

func (l looks) plus(n int) looks { return looks{l.claims + n, l.changes + n} }

// Each is a part of one statement only. A poll sends the first, which has a part of
// the third too, then what it must of the others, from the goroutine that also
// follows the hints.
var (
	pollMark   = "JOIN session_run r ON r.holder = c.id"
	claimMark  = "FROM claimed k JOIN session s"
	changeMark = "s.generation > r.seen_generation OR q.id IS NOT NULL"
	listenMark = "LISTEN "
)

func (s *system) spy() *spy {
	s.Helper()
	p := &spy{system: s, open: map[net.Conn]bool{}}
	p.relay = s.relay(func(r *relay, near, far net.Conn) {
		if !p.keep(near, far) {
			near.Close()
			return
		}
		r.copies.Go(func() {
			defer p.drop(near, far)
			passStatements(far, near, p.see)
		})
		r.copies.Go(func() {
			defer p.drop(near, far)
			p.answers(near, far)
		})
	})
	s.Cleanup(p.close)
	return p
}

// keep takes note of two connections, or closes the second where the spy is.
func (p *spy) keep(near, far net.Conn) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		far.Close()
		return false
	}
	p.open[near], p.open[far] = true, true
	return true
}

// drop ends two connections.
func (p *spy) drop(conns ...net.Conn) {
	for _, c := range conns {
		c.Close()
		p.mu.Lock()
		delete(p.open, c)
		p.mu.Unlock()
	}
}

// answers passes on what Postgres says.
func (p *spy) answers(to, from net.Conn) {
	buffer := make([]byte, 64<<10)
	for {
		n, err := from.Read(buffer)
		p.hear(buffer[:n])
		if _, failed := to.Write(buffer[:n]); err != nil || failed != nil {
			return
		}
	}
}

// see counts the statements that a connector sends.
func (p *spy) see(_, sent string) (pass bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	count := func(mark string, due, extra *int) {
		switch {
		case !strings.Contains(sent, mark):
		case *due > 0:
			*due--
		default:
			*extra++
		}
	}
	if strings.Contains(sent, pollMark) {
		p.polls++
		p.polled = true
		return true
	}
	count(claimMark, &p.due.claims, &p.extra.claims)
	count(changeMark, &p.due.changes, &p.extra.changes)
	return !p.deaf || !strings.Contains(sent, listenMark)
}

// pollAnswer is a row of three truth values of a byte each, as Postgres sends it in
// answer to a poll: are there deaths, jobs, changes?
var pollAnswer = regexp.MustCompile(`(?s)D\x00\x00\x00\x15\x00\x03\x00\x00\x00\x01.\x00\x00\x00\x01(.)\x00\x00\x00\x01(.)`)

// hear learns what a poll is going to look for.
func (p *spy) hear(received []byte) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.polled {
		return
	}
	if row := pollAnswer.FindSubmatch(received); row != nil {
		p.polled = false
		p.due = looks{isTrue(row[1]), isTrue(row[2])}
	}
}

// isTrue counts a truth value, in either format of Postgres.
func isTrue(value []byte) int {
	if value[0] == 't' || value[0] == 1 {
		return 1
	}
	return 0
}

func (p *spy) counts() (extra looks, polls int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.extra, p.polls
}

func (p *spy) setDeaf(deaf bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.deaf = deaf
}

func (p *spy) close() {
	p.relay.listener.Close()
	p.mu.Lock()
	p.closed = true
	for c := range p.open {
		c.Close()
	}
	p.mu.Unlock()
	p.relay.copies.Wait()
}

const listening = ` FROM pg_stat_activity WHERE datname = current_database() AND query LIKE 'LISTEN %'`

// killListener ends the connection that listens, and returns its process id.
func (p *spy) killListener() (pid int) {
	p.Helper()
	p.eventually("a connection that listens", func() bool { return p.rows(`SELECT count(*)`+listening) == 1 })
	pid = p.rows(`SELECT pid` + listening)
	p.exec(`SELECT pg_terminate_backend($1)`, pid)
	return pid
}

// takesByHint starts and stops a session and checks that hints told of both. On a
// busy machine the poll may find a session before its hint arrives, so one of a
// few is enough.
func (p *spy) takesByHint(name string) {
	p.Helper()
	for i := range 5 {
		before, _ := p.counts()
		name := fmt.Sprint(name, "-", i)
		p.start(name, "")
		p.wait(name, session.ScanQRCode)
		p.stop(name)
		p.released(name)
		if p.soon(before.plus(2)) { // one of each is the session's own
			return
		}
	}
	p.Fatal("five sessions were found by the poll only")
}

// soon waits a moment for looks that are on their way.
func (p *spy) soon(want looks) bool {
	for deadline := time.Now().Add(2 * time.Second); time.Now().Before(deadline); time.Sleep(5 * time.Millisecond) { // the connector tells nobody
		if now, _ := p.counts(); now.atLeast(want) {
			return true
		}
	}
	return false
}

func (p *spy) wantExtra(what string, want looks) {
	p.Helper()
	p.eventually(what, func() bool {
		now, _ := p.counts()
		return now.atLeast(want)
	})
}

func (p *spy) released(name string) {
	p.Helper()
	p.eventually("the release of "+name, func() bool {
		return p.rows(`SELECT count(*) FROM session_run r JOIN session s ON s.id = r.session_id WHERE r.holder IS NOT NULL AND s.name = '`+name+`'`) == 0
	})
}

// late is how late the poll may make a start or a stop: it comes every 1.1 s at
// most, and the machine is busy.
const late = 2500 * time.Millisecond

func TestHintsComeAndGo(t *testing.T) {
	onHostOnly(t, "looks for sessions are counted, and the hints of a queue are looks too")
	t.Parallel()
	s := newSystem(t, options{})
	p := s.spy()
	c := s.connector("DATABASE_URL=" + p.relay.through)
	s.pair("held", "5511999990551", "") // so that every poll looks for changes
	p.takesByHint("before")

	for range 3 {
		before, _ := p.counts()
		killed := p.killListener()
		s.eventually("another connection that listens", func() bool {
			return s.rows(`SELECT count(*)`+listening+` AND pid <> `+strconv.Itoa(killed)) == 1
		})
		// Nobody said anything: it looks for what it may have missed.
		p.wantExtra("the looks for what was missed", before.plus(1))
	}
	p.takesByHint("between")

	p.setDeaf(true)
	p.killListener()
	c.waitFor("hints are interrupted; polling goes on")
	s.eventually("the end of listening", func() bool { return s.rows(`SELECT count(*)`+listening) == 0 })
	before, polls := p.counts()
	const rounds = 4
	for i := range rounds {
		name := "deaf-" + strconv.Itoa(i)
		began := time.Now()
		s.start(name, "")
		s.eventually("the claim", func() bool { return s.get(name).text("assignedWorker") != "" })
		if took := time.Since(began); took > late {
			t.Errorf("claimed after %v without hints", took)
		}
		s.wait(name, session.ScanQRCode)
		began = time.Now()
		s.stop(name)
		p.released(name)
		if took := time.Since(began); took > late {
			t.Errorf("released after %v without hints", took)
		}
	}
	own := before.plus(rounds)
	p.wantExtra("the sessions' own looks", own)
	if now, polled := p.counts(); now != own || polled <= polls {
		t.Errorf("looks beside the poll are %+v, want %+v; %d polls", now, own, polled-polls)
	}

	p.setDeaf(false)
	p.wantExtra("the looks for what was missed", own.plus(1))
	p.takesByHint("after")
	s.wait("held", session.Working)
	if n := s.sim.Stats().Logins; n != 1 {
		t.Errorf("%d logins, want one", n)
	}
}
