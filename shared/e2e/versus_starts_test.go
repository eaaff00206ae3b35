package e2e

import (
	"context"
	"fmt"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/wafleet/wafleet/shared/e2e/compare"
	"github.com/wafleet/wafleet/shared/e2e/link"
	"github.com/wafleet/wafleet/shared/pgserver"
	"github.com/wafleet/wafleet/shared/session"
)

// codes: from the start request until its code was read, one at a time.
func codes(t *testing.T, m *match) {
	bare, ours := newSystem(t, options{measured: true}), newSystem(t, options{measured: true})
	p := bare.bare()
	ours.connector(unpaced...)
	var p50, p99 score
	for range m.rounds {
		var took []float64
		p.tell(fmt.Sprintf(`{"do":"qr","n":%d,"parallel":1}`, m.codes), func(a said) { took = append(took, float64(a.Micros)/1000) })
		p50.bare, p99.bare = append(p50.bare, compare.Median(took)), append(p99.bare, compare.Quantile(took, 0.99))
		took = nil
		for range m.codes {
			began := time.Now()
			ours.code(ours.freshName())
			took = append(took, milliseconds(time.Since(began)))
		}
		p50.wafleet, p99.wafleet = append(p50.wafleet, compare.Median(took)), append(p99.wafleet, compare.Quantile(took, 0.99))
	}
	m.table.Add("start to QR over HTTP, p50", "ms", p50.bare, p50.wafleet, compare.AtMost(10))
	m.table.Add("start to QR over HTTP, p99", "ms", p99.bare, p99.wafleet, compare.AtMost(27))
}

func (s *system) freshName() string { return "s" + string(session.NewID()[24:]) }

// code starts a session and reads its code.
func (s *system) code(name string) string {
	s.Helper()
	s.start(name, quietStart)
	return s.want(200, "GET", "/api/"+name+"/auth/qr?format=raw", "").text("value")
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
			asking.Go(func() { ours.code(ours.freshName()) })
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
	url := durable(t)
	bare, ours := newSystem(t, options{measured: true, manyPreKeys: true, url: url}), newSystem(t, options{measured: true, manyPreKeys: true, url: durable(t)})
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
			s.wafleet = append(s.wafleet, ours.linked(side.start))
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
func (s *system) linked(start string) float64 {
	s.Helper()
	name := s.freshName()
	s.start(name, start)
	code := s.want(200, "GET", "/api/"+name+"/auth/qr?format=raw", "").text("value")
	scanned := time.Now()
	if _, err := s.sim.Scan(freshNumber(), code); err != nil {
		s.Fatal(err)
	}
	return s.untilWorking(name, scanned)
}

// untilWorking asks over HTTP until a session works, and returns the milliseconds
// since.
func (s *system) untilWorking(name string, since time.Time) float64 {
	s.Helper()
	for s.get(name).text("status") != string(session.Working) {
		if time.Since(since) > patience {
			s.Fatalf("%s does not work", name)
		}
		s.pass(3 * time.Millisecond)
	}
	return milliseconds(time.Since(since))
}

var numbers = struct {
	sync.Mutex
	last int
}{last: 5511700000000}

func freshNumber() string {
	numbers.Lock()
	defer numbers.Unlock()
	numbers.last++
	return fmt.Sprint(numbers.last)
}

// durable is a migrated database of a server as production's: what it has
// committed is on the disk.
func durable(t *testing.T) string {
	t.Helper()
	server, err := pgserver.Start(t.Context(), pgserver.Config{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := server.Stop(context.WithoutCancel(t.Context())); err != nil {
			t.Error(err)
		}
	})
	if err := migrate(t.Context(), server.URL("")); err != nil {
		t.Fatal(err)
	}
	return server.URL("")
}

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
	c = ours.launchPlain("SLOTS=1000", "LOG_LEVEL=INFO")
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
	var took []float64
	for range m.rounds * times {
		ours.stop(name)
		ours.eventually("the release", func() bool { return ours.rows(`SELECT count(*) FROM session_run WHERE holder IS NOT NULL`) == 0 })
		began := time.Now()
		ours.start(name, "")
		took = append(took, ours.untilWorking(name, began))
	}
	m.table.Add("start of a stopped, linked session to WORKING, p99", "ms", nil, []float64{compare.Quantile(took, 0.99)}, compare.AtMost(150))
	m.table.Add("the same, p50", "ms", nil, []float64{compare.Median(took)}, compare.None)
}
