package conformance

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/wafleet/wafleet/shared/child"
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
			p.Errorf("a program ended with %v:\n%s", err, tail(p.log.String()))
		}
	case <-time.After(patience):
		p.run.Signal(syscall.SIGKILL)
		<-p.run.Gone()
		p.Errorf("a program did not end within %v of SIGTERM:\n%s", patience, tail(p.log.String()))
	}
}

func tail(text string) string {
	const enough = 6000
	if len(text) > enough {
		return "..." + text[len(text)-enough:]
	}
	return text
}

// output keeps what a program writes.
type output struct {
	program string

	mu   sync.Mutex
	text bytes.Buffer  // guarded by mu
	grew chan struct{} // a wake-up, never data
}

func (s *system) newLog(program string) *output {
	log := &output{program: program, grew: make(chan struct{}, 1)}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.logs = append(s.logs, log)
	return log
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	select {
	case o.grew <- struct{}{}:
	default:
	}
	return o.text.Write(p)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.String()
}

// await returns the first match of a pattern with one group.
func (p *process) await(pattern string) string {
	p.Helper()
	find := regexp.MustCompile(pattern)
	deadline := time.After(patience)
	for {
		if match := find.FindStringSubmatch(p.log.String()); match != nil {
			return match[1]
		}
		select {
		case <-p.log.grew:
		case <-p.run.Gone():
			p.Fatalf("a program ended before it said %s:\n%s", pattern, tail(p.log.String()))
		case <-deadline:
			p.Fatalf("a program never said %s:\n%s", pattern, tail(p.log.String()))
		}
	}
}
