package conformance

import (
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/wafleet/wafleet/shared/child"
	"github.com/wafleet/wafleet/shared/e2e/bootstrap"
)

// process is a program that runs until the test ends.
type process struct {
	testing.TB
	run *child.Process
	log *output
}

// quickExit is for programs that are built with the race detector. whatsmeow has
// races of its own; those of the API fail the test by its log.
const quickExit = "GORACE=atexit_sleep_ms=0 exitcode=0"

func (s *system) launch(program string, args []string, env ...string) *process {
	s.Helper()
	p := &process{TB: s.TB, log: s.newLog(filepath.Base(program))}
	cmd := exec.Command(program, args...)
	cmd.Env = append([]string{"PATH=" + os.Getenv("PATH"), quickExit}, env...)
	cmd.Stdout, cmd.Stderr = p.log, p.log
	var err error
	if p.run, err = child.Start(cmd, syscall.SIGKILL); err != nil {
		s.Fatal(err)
	}
	s.Cleanup(p.end)
	return p
}

// end asks the process to leave, and waits. It may be called again.
func (p *process) end() {
	p.Helper()
	p.run.Signal(syscall.SIGTERM)
	select {
	case <-p.run.Gone():
		if err := p.run.Err(); err != nil {
			p.Errorf("a program ended with %v:\n%s", err, bootstrap.Tail(p.log.String()))
		}
	case <-time.After(patience):
		p.run.Signal(syscall.SIGKILL)
		<-p.run.Gone()
		p.Errorf("a program did not end within %v of SIGTERM:\n%s", patience, bootstrap.Tail(p.log.String()))
	}
}

// output keeps what a program writes.
type output struct {
	bootstrap.Output
	program string
}

func (s *system) newLog(program string) *output {
	log := &output{program: program}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.logs = append(s.logs, log)
	return log
}

// await returns the first match of a pattern with one group.
func (p *process) await(pattern string) string {
	p.Helper()
	return p.log.Await(p.TB, pattern, p.run.Gone())
}
