package chaos

import (
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/wafleet/wafleet/shared/e2e/bootstrap"
)

// leaveTime is how long a process may take to leave, whatever is cut.
const leaveTime = 10 * time.Second

// process is one run of a program.
type process struct {
	testing.TB
	name   string
	ready  string // what is in its log once it hears signals
	cmd    *exec.Cmd
	log    bootstrap.Output
	exited chan struct{}
	asked  atomic.Bool // to end
}

// start makes the process run.
func (p *process) start() {
	p.exited = make(chan struct{})
	p.cmd.Env = append([]string{"PATH=" + os.Getenv("PATH"), "GORACE=halt_on_error=0 exitcode=0"}, p.cmd.Env...)
	p.cmd.Stdout, p.cmd.Stderr = &p.log, &p.log
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := p.cmd.Start(); err != nil {
		p.Errorf("start %s: %v", p.name, err)
		close(p.exited)
		return
	}
	go func() {
		_ = p.cmd.Wait()
		close(p.exited)
	}()
}

func (p *process) signal(sig syscall.Signal) {
	if p.cmd.Process == nil {
		return
	}
	if err := p.cmd.Process.Signal(sig); err != nil && !errors.Is(err, os.ErrProcessDone) {
		p.Errorf("%s: %v", p.name, err)
	}
}

// endedByItself reports it as the failure that it is.
func (p *process) endedByItself() bool {
	select {
	case <-p.exited:
		if !p.asked.Load() {
			p.Errorf("%s has ended by itself:\n%s", p.name, tail(p.log.String(), 4000))
			return true
		}
	default:
	}
	return false
}

func (p *process) kill() {
	p.asked.Store(true)
	p.signal(syscall.SIGKILL)
	<-p.exited
}

// leave asks the process to go and returns how long it took.
func (p *process) leave() time.Duration {
	log := p.log.String()
	listens := log != "" && strings.Contains(log, p.ready)
	p.asked.Store(true)
	began := time.Now()
	p.signal(syscall.SIGTERM)
	select {
	case <-p.exited:
		if code := p.cmd.ProcessState.ExitCode(); code != 0 && listens {
			p.Errorf("%s left with exit code %d:\n%s", p.name, code, tail(p.log.String(), 3000))
		}
	case <-time.After(leaveTime):
		p.signal(syscall.SIGABRT) // the stacks say where it hangs
		select {
		case <-p.exited:
		case <-time.After(2 * time.Second):
		}
		p.kill()
		p.Errorf("%s did not leave within %v of SIGTERM:\n%s", p.name, leaveTime, tail(p.log.String(), 12000))
	}
	return time.Since(began)
}

// registration is what a connector says when it enters the fleet.
type registration struct{ Msg, Connector, Address string }

// registrations returns every entry of the process into the fleet.
func (p *process) registrations() (all []registration) {
	for line := range strings.Lines(p.log.String()) {
		var said registration
		if json.Unmarshal([]byte(line), &said) == nil && said.Msg == "connector registered" {
			all = append(all, said)
		}
	}
	return all
}

// check looks for what must never be in a log.
func (p *process) check(secrets []string) {
	text := p.log.String()
	for _, report := range strings.Split(text, "WARNING: DATA RACE")[1:] {
		report, _, _ = strings.Cut(report, "==================")
		if strings.Contains(topFrames(report), "github.com/wafleet/wafleet/") {
			p.Errorf("data race in %s:\n%s", p.name, report)
		}
	}
	for _, bad := range []string{"illegal transition", "panic", "fatal error"} {
		if at := strings.Index(text, bad); at >= 0 {
			p.Errorf("the log of %s says %q:\n%s", p.name, bad, text[max(0, at-500):min(len(text), at+3000)])
		}
	}
	for _, secret := range secrets {
		if strings.Contains(text, secret) {
			p.Errorf("the log of %s holds a secret: %.4s...", p.name, secret)
		}
	}
}

// topFrames returns the frames in which the two accesses of a race report were
// made; whatsmeow has known races of its own.
func topFrames(report string) string {
	var frames []string
	lines := strings.Split(report, "\n")
	for i, line := range lines {
		if (strings.Contains(line, " by goroutine ") || strings.Contains(line, " by main goroutine")) && i+1 < len(lines) {
			frames = append(frames, lines[i+1])
		}
	}
	return strings.Join(frames, "\n")
}

func tail(text string, n int) string {
	if len(text) > n {
		return "..." + text[len(text)-n:]
	}
	return text
}
