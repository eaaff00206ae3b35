package e2e

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/wafleet/wafleet/shared/session"
	"github.com/wafleet/wafleet/shared/wasim"
)

// guarded is a system with two connectors below guards, and sessions that work
// on them. Leases are longer than any test waits: what moves after a death does
// so because a guard has ended one.
type guarded struct {
	*system
	nodes []*node
	names []string          // of the sessions
	jids  map[string]string // by name
	down  time.Time         // since when a session other than the first does not work; zero: all do
	worst time.Duration     // how long that was at most
}

// node is a place for one guard, which is started again when it ends, as a
// scheduler would.
type node struct {
	*process
	codes []int // exit codes of those that ended by themselves
}

func newGuarded(t *testing.T, number int) *guarded {
	t.Helper()
	if _, err := os.Stat("/proc/self/stat"); err != nil {
		t.Skip("only Linux ends a connector whose guard is gone")
	}
	g := &guarded{system: newSystem(t, options{}), jids: map[string]string{}}
	for range 2 {
		g.nodes = append(g.nodes, &node{process: g.guard()})
	}
	g.eventually("two connectors", func() bool { return g.liveConnectors() == 2 })
	for i := range 5 {
		name := fmt.Sprint("s", i)
		g.names = append(g.names, name)
		g.jids[name] = g.pair(name, strconv.Itoa(number+i), []string{postgresStart, documentedStart}[i%2])
	}
	return g
}

// guard starts one. Nothing but deaths may move a session.
func (g *guarded) guard() *process {
	g.Helper()
	p := g.spawn(exec.Command(binaryOf("guard"), binaryOf("connector")),
		"SLOTS=100", "LOG_LEVEL=DEBUG", "CONNECTS_PER_SECOND=1000", "LEASE_TTL=10m", "REBALANCE_PER_SECOND=0")
	g.Cleanup(func() {
		p.end()
		p.checkLog(g.allSecrets())
	})
	return p
}

// look starts again what has ended, and sees how the sessions beside the first
// are.
func (g *guarded) look() {
	g.Helper()
	for _, n := range g.nodes {
		select {
		case <-n.exited:
			n.codes = append(n.codes, n.cmd.ProcessState.ExitCode())
			n.process = g.guard()
		default:
		}
	}
	switch works := g.othersWork(); {
	case works && !g.down.IsZero():
		g.worst, g.down = max(g.worst, time.Since(g.down)), time.Time{}
	case !works && g.down.IsZero():
		g.down = time.Now()
	}
}

func (g *guarded) othersWork() bool {
	g.Helper()
	return !slices.ContainsFunc(g.names[1:], func(name string) bool { return g.get(name).text("status") != string(session.Working) })
}

// codes are the exit codes of all that ended by themselves.
func (g *guarded) codes() []int { return slices.Concat(g.nodes[0].codes, g.nodes[1].codes) }

// poison lets the first session's coming logins get a malformed stanza, and
// waits until it is quarantined and so many processes have died of it.
func (g *guarded) poison(kind wasim.MalformedKind, deaths int) {
	g.Helper()
	culprit := g.jids[g.names[0]]
	if _, err := g.sim.Malformed(culprit, kind, 10); err != nil {
		g.Fatal(err)
	}
	if _, err := g.sim.Drop(culprit, wasim.DropRST); err != nil {
		g.Fatal(err)
	}
	g.eventually("quarantine, with all others at work", func() bool {
		g.look()
		seen := g.get(g.names[0])
		return seen.text("status") == string(session.Failed) && seen.reason() == session.Quarantined && len(g.codes()) >= deaths && g.down.IsZero()
	})
	if n := g.rows(`SELECT count(*) FROM session_run WHERE faults > 0`); n != 1 {
		g.Errorf("%d sessions are blamed", n)
	}
	used := 0
	for _, e := range g.sim.EventsSince(0) {
		if e.Kind == wasim.EventMalformed {
			used++
		}
	}
	if used != 3 {
		g.Errorf("%d malformed stanzas were sent before the quarantine, want 3", used)
	}
}

// cure lets the first session log in again, and its user starts it.
func (g *guarded) cure() {
	g.Helper()
	if _, err := g.sim.Malformed(g.jids[g.names[0]], wasim.MalformedOff, 0); err != nil {
		g.Fatal(err)
	}
	g.start(g.names[0], "")
	g.wait(g.names[0], session.Working)
}

func TestASessionThatEndsItsConnectorIsQuarantined(t *testing.T) {
	t.Parallel()
	g := newGuarded(t, 5511999990601)
	g.poison(wasim.MalformedGoroutine, 3)
	if codes := g.codes(); !slices.Equal(codes, []int{2, 2, 2}) {
		t.Errorf("exit codes %v, want three of crashes", codes)
	}
	if g.worst > 10*time.Second {
		t.Errorf("other sessions were down for %v", g.worst)
	}
	t.Logf("the other sessions were down for %v at most", g.worst.Round(time.Millisecond))

	g.cure()
	g.look()
	if codes := g.codes(); len(codes) != 3 || !g.down.IsZero() {
		t.Errorf("after the cure: exit codes %v, others at work: %v", codes, g.down.IsZero())
	}
	for i, n := range g.nodes {
		if code := n.end(); code != 0 {
			t.Errorf("exit code %d of node %d", code, i)
		}
	}
}

// A panic that is caught ends no process and touches no other session.
func TestASessionThatPanicsIsQuarantinedAlone(t *testing.T) {
	t.Parallel()
	g := newGuarded(t, 5511999990611)
	before := g.texts(`SELECT session_id || ' ' || holder || ' ' || epoch FROM session_run WHERE jid <> $1 ORDER BY 1`, g.jids[g.names[0]])
	g.poison(wasim.MalformedHandler, 0)
	g.cure()
	after := g.texts(`SELECT session_id || ' ' || holder || ' ' || epoch FROM session_run WHERE jid <> $1 ORDER BY 1`, g.jids[g.names[0]])
	if codes := g.codes(); len(codes) != 0 || g.worst != 0 || !slices.Equal(before, after) {
		t.Errorf("exit codes %v, others down for %v, held %v, before %v", codes, g.worst, after, before)
	}
}

func TestAKilledConnectorsSessionsMoveAtOnce(t *testing.T) {
	t.Parallel()
	g := newGuarded(t, 5511999990621)
	holder := g.get(g.names[1]).text("assignedWorker")
	struck := g.nodeOf(holder)
	killed := time.Now()
	if err := syscall.Kill(struck.connector(), syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	g.eventually("all at work elsewhere", func() bool {
		return g.othersWork() && g.get(g.names[0]).text("status") == string(session.Working) &&
			g.rows(fmt.Sprintf(`SELECT count(*) FROM session_run WHERE holder = '%s'`, holder)) == 0
	})
	took := time.Since(killed)
	t.Logf("from the kill to WORKING: %v", took.Round(time.Millisecond))
	if took > 10*time.Second {
		t.Errorf("the sessions moved after %v", took)
	}
	<-struck.exited
	if code := struck.cmd.ProcessState.ExitCode(); code != 128+int(syscall.SIGKILL) {
		t.Errorf("exit code %d", code)
	}
	if n := g.rows(`SELECT count(*) FROM session_run WHERE faults > 0`); n != 0 {
		t.Errorf("%d sessions are blamed", n)
	}
}

// Service managers send a signal to every process; the guard passes it on too.
func TestAGuardedConnectorLeavesInOrder(t *testing.T) {
	t.Parallel()
	g := newGuarded(t, 5511999990631)
	leaving := g.nodeOf(g.get(g.names[1]).text("assignedWorker"))
	if err := syscall.Kill(leaving.connector(), syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if code := leaving.end(); code != 0 {
		t.Errorf("exit code %d", code)
	}
	leaving.waitFor(`"msg":"drained"`)
	if text, _ := leaving.log.Text(); strings.Contains(text, "its lease is ended") {
		t.Error("the guard ended a lease that the connector had ended")
	}
	for _, name := range g.names {
		g.wait(name, session.Working)
	}
}

// nodeOf finds the node of a connector.
func (g *guarded) nodeOf(id string) *node {
	g.Helper()
	i := slices.IndexFunc(g.nodes, func(n *node) bool {
		own, _ := n.registered()
		return string(own) == id
	})
	if i < 0 {
		g.Fatalf("no node has the connector %q", id)
	}
	return g.nodes[i]
}

// below is the process number of the connector below a guard, 0 where there is
// none.
func (p *process) below() int {
	p.Helper()
	stats, err := filepath.Glob("/proc/[0-9]*/stat")
	if err != nil {
		p.Fatal(err)
	}
	for _, file := range stats {
		text, err := os.ReadFile(file)
		if err != nil {
			continue // gone meanwhile
		}
		_, after, _ := strings.Cut(string(text), ") ") // the name may hold spaces
		if fields := strings.Fields(after); len(fields) > 1 && fields[1] == strconv.Itoa(p.cmd.Process.Pid) {
			pid, err := strconv.Atoi(filepath.Base(filepath.Dir(file)))
			if err != nil {
				p.Fatal(err)
			}
			return pid
		}
	}
	return 0
}

// connector is the process number of the one below the node's guard.
func (n *node) connector() int {
	n.Helper()
	pid := n.below()
	if pid == 0 {
		n.Fatal("the guard has no child")
	}
	return pid
}
