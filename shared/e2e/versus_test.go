package e2e

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/wafleet/wafleet/shared/e2e/compare"
)

// scale is how much `make bench` measures.
type scale struct {
	rounds   int
	sessions int // idle ones, on the postgres store
	files    int // idle ones, on the sqlite3 store
	codes    int // asked for one after the other
	storm    int // starts at once
	far      int // starts at once where WhatsApp is far away
	links    int // pairings, one after the other
	settle   time.Duration
	window   time.Duration // of what idle sessions cost
}

// scales by BENCH. The first takes less than three minutes, the second ten; the
// third measures the largest only.
var scales = map[string]scale{
	"quick": {rounds: 1, sessions: 200, files: 60, codes: 60, storm: 100, far: 50, links: 8, settle: 12 * time.Second, window: 10 * time.Second},
	"whole": {rounds: 3, sessions: 500, files: 250, codes: 100, storm: 200, far: 100, links: 15, settle: 12 * time.Second, window: 12 * time.Second},
	"large": {rounds: 1, sessions: 2000, files: 1000, settle: 30 * time.Second, window: 30 * time.Second},
}

// match is the contest between bare clients and wafleet.
type match struct {
	scale
	table *compare.Table
	began time.Time
}

// say tells who watches what goes on: the whole takes minutes.
func (m *match) say(format string, args ...any) {
	fmt.Printf("+%5.1f s  %s\n", time.Since(m.began).Seconds(), fmt.Sprintf(format, args...))
}

// score are the values of one figure, one of every round.
type score struct{ bare, wafleet []float64 }

// TestBench is `make bench`. It fails where something breaks, never for a figure.
func TestBench(t *testing.T) {
	name := os.Getenv("BENCH")
	size, ok := scales[name]
	if !ok {
		if name != "" {
			t.Fatalf("BENCH is quick, whole or large, not %q", name)
		}
		t.Skip("a measurement: make bench")
	}
	m := &match{scale: size, table: &compare.Table{}, began: time.Now()}
	for _, row := range []struct {
		name string
		in   string // the scales that measure it
		run  func(*testing.T, *match)
	}{
		{"memory", "quick whole large", postgresMemory},
		{"files", "whole large", sqliteMemory},
		{"codes", "quick whole", codes},
		{"storm", "quick whole", storms},
		{"far", "quick whole", farStorms},
		{"links", "quick whole", links},
		{"restart-far", "whole", farRestart},
		{"pacing", "whole", pacing},
		{"again", "quick whole", again},
		{"claims", "quick whole", claims},
		{"statements", "quick whole", statementCounts},
		{"fleet", "large", largeFleet},
	} {
		if !strings.Contains(row.in, name) {
			continue
		}
		t.Run(row.name, func(t *testing.T) { row.run(t, m) })
	}
	fmt.Println()
	if err := m.table.Write(os.Stdout); err != nil {
		t.Error(err)
	}
	if file := os.Getenv("BENCH_JSON"); file != "" {
		if err := m.table.WriteJSON(file); err != nil {
			t.Error(err)
		}
	}
}

// bareProcess is the program of bare clients, at work.
type bareProcess struct {
	*system
	cmd *exec.Cmd
	to  io.WriteCloser
	out *bufio.Scanner
}

// said is what it says: see its documentation.
type said struct {
	Code       string
	I          int
	Up, Done   bool
	Micros     int64
	Goroutines int
	Problem    string
}

// bare starts it on the devices of this system. env lines are "NAME=value".
func (s *system) bare(env ...string) *bareProcess {
	s.Helper()
	p := &bareProcess{system: s, cmd: exec.Command(binaryOf("bare"))} // #nosec G204 -- the test's own program
	p.cmd.Env = append([]string{
		"PATH=" + os.Getenv("PATH"), "DATABASE_URL=" + s.url,
		"WHATSAPP_DIAL_ADDR=" + s.sim.DialAddr(), "WHATSAPP_TLS_CA=" + s.ca, "WHATSAPP_NOISE_ROOT_KEY=" + s.sim.RootKeyHex(),
	}, env...)
	p.cmd.Stderr = os.Stderr
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	var err error
	if p.to, err = p.cmd.StdinPipe(); err != nil {
		s.Fatal(err)
	}
	from, err := p.cmd.StdoutPipe()
	if err != nil {
		s.Fatal(err)
	}
	p.out = bufio.NewScanner(from)
	if err := p.cmd.Start(); err != nil {
		s.Fatal(err)
	}
	s.Cleanup(p.end)
	p.listen(nil) // it is ready
	return p
}

// tell gives it a command and returns the last of its answers; hear gets those
// before.
func (p *bareProcess) tell(command string, hear func(said)) said {
	p.Helper()
	if _, err := fmt.Fprintln(p.to, command); err != nil {
		p.Fatal(err)
	}
	return p.listen(hear)
}

func (p *bareProcess) listen(hear func(said)) said {
	p.Helper()
	for p.out.Scan() {
		var a said
		if err := json.Unmarshal(p.out.Bytes(), &a); err != nil || a.Problem != "" {
			p.Fatalf("the bare clients say %s", p.out.Bytes())
		}
		if a.Done {
			return a
		}
		if hear != nil {
			hear(a)
		}
	}
	p.Fatalf("the bare clients ended: %v", p.out.Err())
	return said{}
}

// pairAll links n devices, some at a time.
func (p *bareProcess) pairAll(n int) {
	p.Helper()
	p.tell(fmt.Sprintf(`{"do":"pair","n":%d,"parallel":%d}`, n, atOnce), func(a said) {
		if a.Code == "" {
			return
		}
		if _, err := p.sim.Scan(fmt.Sprint(5511800000000+a.I), a.Code); err != nil {
			p.Error(err)
		}
	})
}

// end kills it: nothing of it is measured afterwards.
func (p *bareProcess) end() {
	if p.cmd.ProcessState == nil {
		_ = p.cmd.Process.Kill()
		_ = p.cmd.Wait()
	}
}

// atOnce is how many clients do something at a time where that is not what is
// measured.
const atOnce = 16

// busy is a process's CPU time so far, of its own and of the kernel's.
func busy(t testing.TB, pid int) time.Duration {
	t.Helper()
	const hertz = 100 // USER_HZ of every Linux that Go runs on
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		t.Skip("a process's CPU time can be read on Linux only")
	}
	_, rest, _ := strings.Cut(string(stat), ") ") // the name may hold anything
	fields := strings.Fields(rest)
	var ticks int64
	for _, field := range fields[11:13] { // utime and stime; see proc_pid_stat(5)
		n, err := strconv.ParseInt(field, 10, 64)
		if err != nil {
			t.Fatal(err)
		}
		ticks += n
	}
	return time.Duration(ticks) * time.Second / hertz
}
