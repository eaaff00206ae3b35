package deployment

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/wafleet/wafleet/shared/child"
	"github.com/wafleet/wafleet/shared/e2e/bootstrap"
)

// Patience bounds every wait; a test that reaches it has failed.
const Patience = 45 * time.Second

// Program is one that runs, until the test ends at the latest.
type Program struct {
	testing.TB
	name string
	run  *child.Process
	out  bootstrap.Output
	once sync.Once
	code int // valid once once is done
}

// Start starts a command. What it writes is kept and shown where the test fails.
func Start(t testing.TB, cmd *exec.Cmd) *Program {
	t.Helper()
	p := &Program{TB: t, name: filepath.Base(cmd.Path)}
	cmd.Stdout, cmd.Stderr = &p.out, &p.out
	var err error
	if p.run, err = child.Start(cmd, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		p.End()
		if t.Failed() {
			t.Logf("%s wrote:\n%s", p.name, bootstrap.Tail(p.Log()))
		}
	})
	return p
}

// Pid is the process's number.
func (p *Program) Pid() int { return p.run.Pid() }

// Children are the processes that the program has started and that still run, as the
// kernel tells (Linux only).
func (p *Program) Children() (pids []int) {
	threads, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", p.Pid()))
	for _, file := range threads {
		text, _ := os.ReadFile(file) // #nosec G304 -- a thread that has ended has none
		for word := range strings.FieldsSeq(string(text)) {
			if pid, err := strconv.Atoi(word); err == nil {
				pids = append(pids, pid)
			}
		}
	}
	return pids
}

// Log is what the program has written.
func (p *Program) Log() string { return p.out.String() }

// Await waits until the program writes what matches a pattern, and returns the
// pattern's first group, or the match where it has none.
func (p *Program) Await(pattern string) string {
	p.Helper()
	find := regexp.MustCompile(pattern)
	deadline := time.After(Patience)
	for ended := false; ; {
		text, more := p.out.Text()
		if match := find.FindStringSubmatch(text); match != nil {
			return match[len(match)-1]
		}
		if ended {
			p.Fatalf("%s ended before it said %s:\n%s", p.name, pattern, bootstrap.Tail(p.Log()))
		}
		select {
		case <-more:
		case <-p.run.Gone():
			ended = true // all that it wrote is there now: look once more
		case <-deadline:
			p.Fatalf("%s never said %s:\n%s", p.name, pattern, bootstrap.Tail(p.Log()))
		}
	}
}

// Wait returns the exit code of a program that ends by itself.
func (p *Program) Wait() int {
	p.Helper()
	select {
	case <-p.run.Gone():
	case <-time.After(Patience):
		p.Fatalf("%s did not end:\n%s", p.name, bootstrap.Tail(p.Log()))
	}
	p.once.Do(p.gone)
	return p.code
}

// End asks the program to leave with SIGTERM and returns its exit code. It may be
// called again.
func (p *Program) End() int {
	p.Helper()
	p.once.Do(func() {
		p.run.Signal(syscall.SIGTERM)
		select {
		case <-p.run.Gone():
		case <-time.After(Patience):
			p.run.Signal(syscall.SIGKILL)
			p.Errorf("%s did not end within %v of SIGTERM:\n%s", p.name, Patience, bootstrap.Tail(p.Log()))
		}
		p.gone()
	})
	return p.code
}

// Kill ends the program without a chance to say goodbye.
func (p *Program) Kill() {
	p.once.Do(func() {
		p.run.Signal(syscall.SIGKILL)
		p.gone()
	})
}

// gone waits for the end and keeps the exit code, -1 for a signal.
func (p *Program) gone() {
	var exit *exec.ExitError
	if err := p.run.Err(); err != nil {
		if p.code = -1; errors.As(err, &exit) {
			p.code = exit.ExitCode()
		}
	}
}
