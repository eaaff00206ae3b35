package e2e

import (
	"fmt"
	"os"
	"testing"
	"time"

	"github.com/wafleet/wafleet/shared/e2e/compare"
)

// unpaced lets a connector hold a large fleet, connect as fast as it can, and
// say no more than production would.
var unpaced = []string{"SLOTS=20000", "CONNECTS_PER_SECOND=100000", "LOG_LEVEL=INFO"}

// idle are the figures of processes that hold idle sessions.
type idle struct {
	pairing, restart, goroutines, cpu, login, up score
}

func postgresMemory(t *testing.T, m *match) {
	s := memory(t, m, m.rounds, m.sessions, nil, quietStart)
	n := fmt.Sprintf(", %d sessions, postgres", m.sessions)
	idleAim := compare.AtMost(0.7)
	if m.sessions > 500 {
		idleAim = compare.Times(1.2)
	}
	m.table.Add("memory per idle session after a restart"+n, "KB", s.restart.bare, s.restart.wafleet, compare.And(compare.Times(1.1), compare.AtMost(145)))
	m.table.Add("memory per session after pairing"+n, "KB", s.pairing.bare, s.pairing.wafleet, compare.AtMost(200))
	m.table.Add("goroutines per idle session"+n, "", s.goroutines.bare, s.goroutines.wafleet, compare.Over(1))
	m.table.Add("CPU of idle sessions"+n, "% of a core", s.cpu.bare, s.cpu.wafleet, idleAim)
	m.table.Add("CPU per login"+n, "ms", s.login.bare, s.login.wafleet, compare.Times(1.25))
	m.table.Add("restart, process start to all WORKING"+n, "s", s.up.bare, s.up.wafleet, compare.AtMost(2*max(1, float64(m.sessions)/500)))
}

func sqliteMemory(t *testing.T, m *match) {
	s := memory(t, m, 1, m.files, []string{"FILES=" + t.TempDir()}, quietFile)
	n := fmt.Sprintf(", %d sessions, sqlite3", m.files)
	m.table.Add("memory per idle session after a restart"+n, "KB", s.restart.bare, s.restart.wafleet, compare.Times(1.1))
	m.table.Add("restart, process start to all WORKING"+n, "s", s.up.bare, s.up.wafleet, compare.None)
}

// memory pairs sessions on both sides, and lets both start again in turn.
func memory(t *testing.T, m *match, rounds, n int, env []string, start string) *idle {
	var s idle
	bare, ours := newSystem(t, options{measured: true}), newSystem(t, options{measured: true})
	emptyBare, emptyOurs := m.pairBare(bare, n, env, &s), m.pairOurs(ours, n, start, &s)
	for range rounds {
		m.restartBare(bare, n, env, emptyBare, &s)
		m.restartOurs(ours, n, emptyOurs, &s)
	}
	return &s
}

// empty is a process that holds nothing yet.
type empty struct {
	rss        int // KB
	goroutines int
	busy       time.Duration
}

// breath is how long a fresh process gets to become quiet.
const breath = 2 * time.Second

func (m *match) pairBare(s *system, n int, env []string, to *idle) empty {
	p := s.bare(env...)
	s.pass(breath)
	e := empty{rss(s, p.cmd.Process.Pid), p.tell(`{"do":"goroutines"}`, nil).Goroutines, busy(s, p.cmd.Process.Pid)}
	began := time.Now()
	p.pairAll(n)
	m.say("bare: %d paired in %s", n, seconds(time.Since(began)))
	s.pass(m.settle)
	to.pairing.bare = append(to.pairing.bare, per(rss(s, p.cmd.Process.Pid)-e.rss, n))
	p.end()
	return e
}

func (m *match) pairOurs(s *system, n int, start string, to *idle) empty {
	c := s.connector(unpaced...)
	s.pass(breath)
	e := empty{rss(s, c.cmd.Process.Pid), s.use(c).goroutines, busy(s, c.cmd.Process.Pid)}
	began := time.Now()
	pairMore(s, 0, n, start)
	m.say("wafleet: %d paired in %s", n, seconds(time.Since(began)))
	s.pass(m.settle)
	to.pairing.wafleet = append(to.pairing.wafleet, per(rss(s, c.cmd.Process.Pid)-e.rss, n))
	c.endWithin(time.Minute)
	return e
}

func (m *match) restartBare(s *system, n int, env []string, e empty, to *idle) {
	began := time.Now()
	p := s.bare(env...)
	defer p.end()
	pid := p.cmd.Process.Pid
	p.tell(fmt.Sprintf(`{"do":"login","parallel":%d}`, 4*atOnce), nil)
	to.up.bare = append(to.up.bare, time.Since(began).Seconds())
	s.pass(time.Second)
	to.login.bare = append(to.login.bare, milliseconds(busy(s, pid)-e.busy)/float64(n))
	s.pass(m.settle)
	to.restart.bare = append(to.restart.bare, per(rss(s, pid)-e.rss, n))
	goroutines := p.tell(`{"do":"goroutines"}`, nil).Goroutines
	to.goroutines.bare = append(to.goroutines.bare, per(goroutines-e.goroutines, n))
	to.cpu.bare = append(to.cpu.bare, m.idleCPU(s, pid))
}

func (m *match) restartOurs(s *system, n int, e empty, to *idle) {
	began := time.Now()
	c := s.launchPlain(unpaced...)
	defer c.endWithin(time.Minute)
	pid := c.cmd.Process.Pid
	s.eventuallyWithin(time.Minute, fmt.Sprint(n, " WORKING"), func() bool { return s.working() == n })
	to.up.wafleet = append(to.up.wafleet, time.Since(began).Seconds())
	s.pass(time.Second)
	to.login.wafleet = append(to.login.wafleet, milliseconds(busy(s, pid)-e.busy)/float64(n))
	s.pass(m.settle)
	to.restart.wafleet = append(to.restart.wafleet, per(rss(s, pid)-e.rss, n))
	to.goroutines.wafleet = append(to.goroutines.wafleet, per(s.use(c).goroutines-e.goroutines, n))
	to.cpu.wafleet = append(to.cpu.wafleet, m.idleCPU(s, pid))
	m.say("wafleet: %d up in %s, %.0f KB each; bare %s, %.0f KB", n, seconds(time.Duration(last(to.up.wafleet)*1e9)), last(to.restart.wafleet),
		seconds(time.Duration(last(to.up.bare)*1e9)), last(to.restart.bare))
	keepHeap(s, c)
}

// idleCPU is what a process uses while nothing happens, in percent of a core.
func (m *match) idleCPU(s *system, pid int) float64 {
	before := busy(s, pid)
	s.pass(m.window)
	return 100 * float64(busy(s, pid)-before) / float64(m.window)
}

// keepHeap keeps a heap profile of a connector where BENCH_HEAP names a file.
func keepHeap(s *system, c *process) {
	file := os.Getenv("BENCH_HEAP")
	if file == "" {
		return
	}
	if err := os.WriteFile(file, c.private("/debug/pprof/heap"), 0o600); err != nil {
		s.Error(err)
	}
}

func per(sum, n int) float64 { return float64(sum) / float64(n) }

func last(values []float64) float64 {
	if len(values) == 0 {
		return 0
	}
	return values[len(values)-1]
}
