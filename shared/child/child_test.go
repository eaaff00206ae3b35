package child

import (
	"bufio"
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/wafleet/wafleet/shared/backoff"
)

// patience bounds every wait for something that must happen.
const patience = 20 * time.Second

// kept is a program under Keep.
type kept struct {
	stop, hurry context.CancelFunc
	lines       chan string
	ends        chan End
	result      chan error
}

func keep(t *testing.T, p Program) *kept {
	t.Helper()
	ctx, stop := context.WithCancel(context.Background())
	hurry, press := context.WithCancel(context.Background())
	k := &kept{stop: stop, hurry: press, lines: make(chan string, 100), ends: make(chan End, 100), result: make(chan error, 1)}
	p.Path = os.Args[0]
	p.Line = func(line string) { k.lines <- line }
	p.Ended = func(end End) { k.ends <- end }
	go func() { k.result <- Keep(ctx, hurry, p) }()
	t.Cleanup(func() { stop(); press() })
	return k
}

func next[T any](t *testing.T, from <-chan T, what string) T {
	t.Helper()
	select {
	case value := <-from:
		return value
	case <-time.After(patience):
		t.Fatalf("no %s in time", what)
		panic("unreachable")
	}
}

// awaitReady returns the child's pid.
func (k *kept) awaitReady(t *testing.T) int {
	t.Helper()
	return readyPid(t, next(t, k.lines, "line"))
}

func readyPid(t *testing.T, line string) int {
	t.Helper()
	pid, err := strconv.Atoi(strings.TrimPrefix(strings.TrimSpace(line), "ready "))
	if err != nil {
		t.Fatalf("line %q, want ready and a pid", line)
	}
	return pid
}

func alive(pid int) bool {
	if syscall.Kill(pid, 0) != nil {
		return false
	}
	stat, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "stat"))
	if err != nil {
		return runtime.GOOS != "linux"
	}
	_, after, _ := strings.Cut(string(stat), ") ")
	return !strings.HasPrefix(after, "Z") // nobody has reaped it yet
}

func TestOrderlyEnd(t *testing.T) {
	t.Parallel()
	k := keep(t, Program{Env: role("obeys")})
	pid := k.awaitReady(t)
	k.stop()
	if err := next(t, k.result, "result"); err != nil {
		t.Errorf("Keep = %v", err)
	}
	if end := next(t, k.ends, "end"); end.Err != nil || !end.Asked {
		t.Errorf("end = %+v", end)
	}
	if line := next(t, k.lines, "last line"); line != "bye" {
		t.Errorf("last line = %q", line)
	}
	if alive(pid) || len(k.ends) != 0 || len(k.lines) != 0 {
		t.Errorf("alive %v, %d more ends, %d more lines", alive(pid), len(k.ends), len(k.lines))
	}
}

func TestDeadChildIsRestartedWithGrowingPauses(t *testing.T) {
	t.Parallel()
	policy := backoff.Policy{Base: 2 * time.Millisecond, Max: 8 * time.Millisecond}
	k := keep(t, Program{Env: role("dies"), Restart: policy})
	for attempt := 1; attempt <= 4; attempt++ {
		if line := next(t, k.lines, "line"); line != "dying" {
			t.Fatalf("line = %q", line)
		}
		end := next(t, k.ends, "end")
		var exit *exec.ExitError
		if !errors.As(end.Err, &exit) || exit.ExitCode() != 3 || end.Asked {
			t.Errorf("end %d = %+v", attempt, end)
		}
		if ceiling := policy.Ceiling(attempt); end.Pause <= 0 || end.Pause > ceiling {
			t.Errorf("pause %d = %v, want at most %v", attempt, end.Pause, ceiling)
		}
	}
	k.stop()
	next(t, k.result, "result")
}

func TestSteadyRunStartsThePausesAnew(t *testing.T) {
	t.Parallel()
	policy := backoff.Policy{Base: 2 * time.Millisecond, Max: time.Hour}
	k := keep(t, Program{Env: role("dies"), Restart: policy, Steady: time.Nanosecond})
	for range 5 {
		if end := next(t, k.ends, "end"); end.Pause > policy.Base {
			t.Errorf("pause = %v", end.Pause)
		}
	}
	k.stop()
	next(t, k.result, "result")
}

func TestStubbornChildIsKilledAfterItsGrace(t *testing.T) {
	t.Parallel()
	const grace = 200 * time.Millisecond
	k := keep(t, Program{Env: role("stubborn"), Grace: grace})
	pid := k.awaitReady(t)
	asked := time.Now()
	k.stop()
	if err := next(t, k.result, "result"); !errors.Is(err, ErrKilled) {
		t.Errorf("Keep = %v", err)
	}
	if took := time.Since(asked); took < grace {
		t.Errorf("killed after %v, before its grace was over", took)
	}
	if alive(pid) {
		t.Error("still alive")
	}
}

func TestHurryKillsWithoutGrace(t *testing.T) {
	t.Parallel()
	k := keep(t, Program{Env: role("stubborn"), Grace: time.Hour})
	pid := k.awaitReady(t)
	k.stop()
	k.hurry()
	if err := next(t, k.result, "result"); !errors.Is(err, ErrKilled) {
		t.Errorf("Keep = %v", err)
	}
	if alive(pid) {
		t.Error("still alive")
	}
}

func TestStopDuringAPause(t *testing.T) {
	t.Parallel()
	k := keep(t, Program{Env: role("dies"), Restart: backoff.Policy{Base: time.Hour, Max: time.Hour}})
	next(t, k.ends, "end")
	k.stop()
	if err := next(t, k.result, "result"); err != nil {
		t.Errorf("Keep = %v", err)
	}
}

func TestProgramThatCannotBeStarted(t *testing.T) {
	t.Parallel()
	ctx, stop := context.WithCancel(context.Background())
	defer stop()
	ends := 0
	err := Keep(ctx, ctx, Program{
		Path:    filepath.Join(t.TempDir(), "missing"),
		Restart: backoff.Policy{Base: time.Millisecond, Max: time.Millisecond},
		Ended: func(end End) {
			if !errors.Is(end.Err, os.ErrNotExist) {
				t.Errorf("end = %+v", end)
			}
			if ends++; ends == 3 {
				stop()
			}
		},
	})
	if err != nil || ends != 3 {
		t.Errorf("Keep = %v after %d ends", err, ends)
	}
}

func TestChildDiesWithItsParent(t *testing.T) {
	t.Parallel()
	if runtime.GOOS != "linux" {
		t.Skip("only Linux tells a child that its parent is gone")
	}
	parent := exec.Command(os.Args[0])
	parent.Env = role("parent")
	out, err := parent.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := parent.Start(); err != nil {
		t.Fatal(err)
	}
	line, readErr := bufio.NewReader(out).ReadString('\n')
	_ = parent.Process.Kill()
	_ = parent.Wait() // killed
	if readErr != nil {
		t.Fatal(readErr)
	}
	pid := readyPid(t, line)
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.After(patience); alive(pid); {
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatal("the child outlives its parent")
		}
	}
}

func TestLines(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("x", maxLine)
	for name, test := range map[string]struct{ writes, want []string }{
		"whole":         {[]string{"a\nb\n"}, []string{"a", "b"}},
		"in pieces":     {[]string{"a", "b\nc", "\n"}, []string{"ab", "c"}},
		"without end":   {[]string{"a\nb"}, []string{"a", "b"}},
		"empty":         {[]string{"\n\r\n\n"}, nil},
		"carriage":      {[]string{"a\r\n"}, []string{"a"}},
		"cut where big": {[]string{long, "y\n"}, []string{long, "y"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var got []string
			l := &lines{emit: func(line string) { got = append(got, line) }}
			for _, text := range test.writes {
				if n, err := l.Write([]byte(text)); n != len(text) || err != nil {
					t.Errorf("Write = %d, %v", n, err)
				}
			}
			l.flush()
			if strings.Join(got, "|") != strings.Join(test.want, "|") {
				t.Errorf("lines = %.60q, want %.60q", got, test.want)
			}
		})
	}
}
