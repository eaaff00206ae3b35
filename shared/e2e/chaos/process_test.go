package chaos

import (
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// leaveTime is how long a process may take to leave, whatever is cut.
const leaveTime = 10 * time.Second

// process is one run of the connector binary.
type process struct {
	testing.TB
	name   string
	cmd    *exec.Cmd
	log    logBuffer
	exited chan struct{}
	killed bool // by the driver; its goroutine alone uses it
}

// logBuffer keeps what a process writes.
type logBuffer struct {
	mu   sync.Mutex
	text bytes.Buffer // guarded by mu
}

func (b *logBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.Write(p)
}

func (b *logBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.String()
}

func launch(t testing.TB, name string, env []string) *process {
	p := &process{TB: t, name: name, cmd: exec.Command(connectorBinary), exited: make(chan struct{})}
	p.cmd.Env = append([]string{"PATH=" + os.Getenv("PATH"), "GORACE=halt_on_error=0 exitcode=0"}, env...)
	p.cmd.Stdout, p.cmd.Stderr = &p.log, &p.log
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := p.cmd.Start(); err != nil {
		t.Errorf("start %s: %v", name, err)
		close(p.exited)
		return p
	}
	go func() {
		_ = p.cmd.Wait()
		close(p.exited)
	}()
	return p
}

func (p *process) signal(sig syscall.Signal) {
	if p.cmd.Process == nil {
		return
	}
	if err := p.cmd.Process.Signal(sig); err != nil && !errors.Is(err, os.ErrProcessDone) {
		p.Errorf("%s: %v", p.name, err)
	}
}

func (p *process) kill() {
	p.killed = true
	p.signal(syscall.SIGKILL)
	<-p.exited
}

// leave asks the process to go and returns how long it took.
func (p *process) leave() time.Duration {
	began := time.Now()
	p.signal(syscall.SIGTERM)
	select {
	case <-p.exited:
		if code := p.cmd.ProcessState.ExitCode(); code != 0 && p.log.String() != "" { // it may not hear signals yet
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

// connectors returns the ids under which the process has registered.
func (p *process) connectors() (ids []string) {
	for line := range strings.Lines(p.log.String()) {
		var said struct{ Msg, Connector string }
		if json.Unmarshal([]byte(line), &said) == nil && said.Msg == "connector registered" {
			ids = append(ids, said.Connector)
		}
	}
	return ids
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
			p.Errorf("the log of %s holds a secret: %.12s...", p.name, secret)
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
