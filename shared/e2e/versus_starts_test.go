package e2e

import (
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/wafleet/wafleet/shared/e2e/compare"
	"github.com/wafleet/wafleet/shared/e2e/link"
	"github.com/wafleet/wafleet/shared/pgtest"
	"github.com/wafleet/wafleet/shared/session"
)

// codes: from the start request until its code was read, one at a time.
func codes(t *testing.T, m *match) {
	bare, ours := newSystem(t, options{measured: true}), newSystem(t, options{measured: true})
	p := bare.bare()
	ours.connector(unpaced...)
	var p50, p99 score
	for range m.rounds {
		var took []time.Duration
		p.tell(fmt.Sprintf(`{"do":"qr","n":%d,"parallel":1}`, m.codes), func(a said) { took = append(took, time.Duration(a.Micros)*time.Microsecond) })
		bare := spreadOf(took)
		p50.bare, p99.bare = append(p50.bare, milliseconds(bare.p50)), append(p99.bare, milliseconds(bare.p99))
		took = nil
		for range m.codes {
			began := time.Now()
			ours.code(ours.freshName(), quietStart)
			took = append(took, time.Since(began))
		}
		ours := spreadOf(took)
		p50.wafleet, p99.wafleet = append(p50.wafleet, milliseconds(ours.p50)), append(p99.wafleet, milliseconds(ours.p99))
	}
	m.table.Add("start to QR over HTTP, p50", "ms", p50.bare, p50.wafleet, compare.AtMost(10))
	m.table.Add("start to QR over HTTP, p99", "ms", p99.bare, p99.wafleet, compare.AtMost(27))
}

func (s *system) freshName() string { return "s" + string(session.NewID()[24:]) }

// code starts a session and reads its code.
func (s *system) code(name, start string) string {
	s.Helper()
	s.start(name, start)
	return s.qr(name)
}

func storms(t *testing.T, m *match) {
	s := storm(t, m, m.storm, 0)
	m.table.Add(fmt.Sprintf("%d starts at once, all have a QR", m.storm), "s", s.bare, s.wafleet, compare.AtMost(1.2))
}

// farAway is a round trip to WhatsApp where it is far away.
const farAway = 150 * time.Millisecond

func farStorms(t *testing.T, m *match) {
	s := storm(t, m, m.far, farAway)
	m.table.Add(fmt.Sprintf("%d starts at once, %v to WhatsApp", m.far, farAway), "s", s.bare, s.wafleet, compare.AtMost(1.6))
}

// storm starts n sessions at once until all have a code.
func storm(t *testing.T, m *match, n int, far time.Duration) (s score) {
	bare, ours := newSystem(t, options{measured: true}), newSystem(t, options{measured: true})
	p := bare.bare(bare.farFrom(far)...)
	ours.connector(append(unpaced, ours.farFrom(far)...)...)
	for range m.rounds {
		s.bare = append(s.bare, float64(p.tell(fmt.Sprintf(`{"do":"qr","n":%d,"parallel":%d}`, n, n), nil).Micros)/1e6)
		began := time.Now()
		var asking sync.WaitGroup
		for range n {
			asking.Go(func() { ours.code(ours.freshName(), quietStart) })
		}
		asking.Wait()
		s.wafleet = append(s.wafleet, time.Since(began).Seconds())
	}
	return s
}

// farFrom is the environment of a process that is so far from WhatsApp.
func (s *system) farFrom(there time.Duration) []string {
	s.Helper()
	if there == 0 {
		return nil
	}
	l := link.New(s, "127.0.0.1:0", s.sim.DialAddr())
	l.Spoil("latency", "downstream", fmt.Sprintf(`{"latency":%d}`, there.Milliseconds()))
	return []string{"WHATSAPP_DIAL_ADDR=" + l.Address()}
}

// links: from a scan until the session works and the prekeys are with WhatsApp,
// one at a time, on a Postgres that waits for its disk, and on files.
func links(t *testing.T, m *match) {
	bare, ours := newSystem(t, options{measured: true, manyPreKeys: true, url: pgtest.Durable(t, migrate)}), newSystem(t, options{measured: true, manyPreKeys: true, url: pgtest.Durable(t, migrate)})
	ours.connector(unpaced...)
	for _, side := range []struct {
		dialect session.Dialect
		p       *bareProcess
		start   string
		aim     float64
	}{
		{session.Postgres, bare.bare(), quietStart, 60},
		{session.SQLite, bare.bare("FILES=" + t.TempDir()), quietFile, 50},
	} {
		var s score
		for range m.links {
			s.bare = append(s.bare, side.p.link())
			s.wafleet = append(s.wafleet, milliseconds(ours.linked(side.start)))
		}
		m.table.Add(fmt.Sprintf("scan to WORKING with 812 prekeys, %s, p50", side.dialect), "ms", s.bare, s.wafleet, compare.AtMost(side.aim))
	}
}

// link pairs one device, and returns for how many milliseconds after its scan it
// was not up.
func (p *bareProcess) link() (took float64) {
	p.Helper()
	var scanned time.Time
	p.tell(`{"do":"pair","n":1,"parallel":1}`, func(a said) {
		switch {
		case a.Code != "":
			scanned = time.Now()
			if _, err := p.sim.Scan(freshNumber(), a.Code); err != nil {
				p.Error(err)
			}
		case a.Up:
			took = milliseconds(time.Since(scanned))
		}
	})
	return took
}

// linked is the same over HTTP.
func (s *system) linked(start string) time.Duration {
	s.Helper()
	name := s.freshName()
	code := s.code(name, start)
	scanned := time.Now()
	if _, err := s.sim.Scan(freshNumber(), code); err != nil {
		s.Fatal(err)
	}
	return s.untilWorking(name, scanned)
}

// untilWorking asks over HTTP until a session works, and returns how long ago
// since was.
func (s *system) untilWorking(name string, since time.Time) time.Duration {
	s.Helper()
	for s.get(name).text("status") != string(session.Working) {
		if time.Since(since) > patience {
			s.Fatalf("%s does not work", name)
		}
		s.pass(3 * time.Millisecond)
	}
	return time.Since(since)
}

var lastNumber atomic.Int64

func freshNumber() string { return fmt.Sprint(5511700000000 + lastNumber.Add(1)) }

// farRestart: a process of 200 sessions starts again where WhatsApp is far away,
// and one of its dials hangs.
func farRestart(t *testing.T, m *match) {
	const sessions = 200
	ours := newSystem(t, options{measured: true})
	c := ours.connector(unpaced...)
	pairMany(ours, sessions-1)
	listener, err := net.Listen("tcp", "127.0.0.1:0") // accepts, and never answers
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { listener.Close() })
	ours.start("stuck", fmt.Sprintf(`{"config":{"store":{"dialect":"postgres"},"proxy":{"server":"http://%s"}}}`, listener.Addr()))
	c.endWithin(time.Minute)
	far := ours.farFrom(farAway)
	var s score
	for range m.rounds {
		began := time.Now()
		c = ours.launchPlain(append(unpaced, far...)...)
		ours.eventuallyWithin(time.Minute, "all WORKING", func() bool { return ours.working() == sessions-1 })
		s.wafleet = append(s.wafleet, time.Since(began).Seconds())
		c.endWithin(time.Minute)
	}
	m.table.Add(fmt.Sprintf("restart of %d, %v to WhatsApp, one dial hangs", sessions, farAway), "s", nil, s.wafleet, compare.AtMost(3))
}

// pacing: at production's pace, how many logins a second there are.
func pacing(t *testing.T, m *match) {
	const sessions, pace = 150, 25.0
	ours := newSystem(t, options{measured: true})
	c := ours.connector(unpaced...)
	pairMany(ours, sessions)
	c.endWithin(time.Minute)
	before := len(ours.loginTimes())
	ours.launchPlain("SLOTS=1000", "LOG_LEVEL=INFO")
	ours.eventuallyWithin(time.Minute, "all WORKING", func() bool { return ours.working() == sessions })
	logins := ours.loginTimes()[before:]
	// The first few come at once: the pace is that of the second half.
	half := logins[len(logins)/2:]
	rate := float64(len(half)-1) / half[len(half)-1].Sub(half[0]).Seconds()
	m.table.Add("logins per second at the default pace", "1/s", nil, []float64{rate}, compare.Within(pace, 0.05))
}

// again: a linked session is stopped and started; how long until it works.
func again(t *testing.T, m *match) {
	const times = 40
	ours := newSystem(t, options{measured: true})
	ours.connector(unpaced...)
	ours.linked(quietStart)
	name := ours.text(`SELECT name FROM session`)
	var took []time.Duration
	for range m.rounds * times {
		ours.stop(name)
		ours.eventually("the release", func() bool { return ours.rows(`SELECT count(*) FROM session_run WHERE holder IS NOT NULL`) == 0 })
		began := time.Now()
		ours.start(name, "")
		took = append(took, ours.untilWorking(name, began))
	}
	m.table.Add("start of a stopped, linked session to WORKING, p99", "ms", nil, []float64{milliseconds(spreadOf(took).p99)}, compare.AtMost(150))
	m.table.Add("the same, p50", "ms", nil, []float64{milliseconds(spreadOf(took).p50)}, compare.None)
}
