package e2e

import (
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/wafleet/wafleet/shared/e2e/bootstrap"
	"github.com/wafleet/wafleet/shared/session"
)

// process is a connector binary that runs, alone or below a guard.
type process struct {
	testing.TB
	guarded bool
	cmd     *exec.Cmd
	log     *bootstrap.Output
	exited  chan struct{}
	once    sync.Once
}

// connector launches a connector and waits until it is registered.
func (s *system) connector(env ...string) *process {
	s.Helper()
	return s.registered(binaryOf("connector"), env...)
}

// registered runs a connector's program and waits until it is registered.
func (s *system) registered(program string, env ...string) *process {
	s.Helper()
	before := s.liveConnectors()
	p := s.run(program, quick(env)...)
	s.eventually("the registration of the connector", func() bool {
		select {
		case <-p.exited:
			s.Fatal("the connector ended at once")
		default:
		}
		return s.liveConnectors() > before
	})
	return p
}

// shortLease lets a test see a lease pass soon. Other tests run with
// production's, which no busy machine misses.
const shortLease = "LEASE_TTL=3s"

// launch starts a connector. env lines are "NAME=value"; the
// last of a name counts.
func (s *system) launch(env ...string) *process {
	s.Helper()
	return s.run(binaryOf("connector"), quick(env)...)
}

// launchPlain starts a connector that has production's value of whatever env
// does not name.
func (s *system) launchPlain(env ...string) *process {
	s.Helper()
	return s.run(binaryOf("connector"), env...)
}

// quick adds what lets a test go fast.
func quick(env []string) []string {
	return append([]string{"SLOTS=600", "LOG_LEVEL=DEBUG", "CONNECTS_PER_SECOND=1000"}, env...)
}

func (s *system) run(program string, env ...string) *process {
	s.Helper()
	cmd := exec.Command(program)
	if s.aws != nil { // as the image's entry point does
		cmd = exec.Command(binaryOf("guard"), program)
	}
	p := s.spawn(cmd, env...)
	s.Cleanup(func() {
		p.end()
		p.checkLog(s.allSecrets(), "panic:", `"a panic`) // not the runtime's panic.go in the stack of a race
	})
	return p
}

// spawn starts a program with the environment of a connector.
func (s *system) spawn(cmd *exec.Cmd, env ...string) *process {
	s.Helper()
	p := &process{TB: s.TB, guarded: cmd.Path == binaryOf("guard"), cmd: cmd, log: &bootstrap.Output{}, exited: make(chan struct{})}
	p.cmd.Env = s.audited(append([]string{
		"PATH=" + os.Getenv("PATH"),
		"DATABASE_URL=" + s.url, "DATA_DIR=" + s.data, "LISTEN=127.0.0.1:0",
		"WHATSAPP_DIAL_ADDR=" + s.sim.DialAddr(), "WHATSAPP_TLS_CA=" + s.ca, "WHATSAPP_NOISE_ROOT_KEY=" + s.sim.RootKeyHex(),
		"GORACE=halt_on_error=0 exitcode=0",
	}, env...))
	if s.aws != nil {
		task := s.aws.ecs.newTask()
		p.cmd.Env = slices.Concat(s.aws.env, s.aws.ecs.container(task), p.cmd.Env) // the last of a name counts
		s.aws.tellOfTheEnd(task, p.exited)
	}
	p.cmd.Stderr, p.cmd.Stdout = p.log, p.log
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := p.cmd.Start(); err != nil {
		s.Fatal(err)
	}
	go func() {
		_ = p.cmd.Wait()
		close(p.exited)
	}()
	s.Cleanup(func() {
		p.end()
		if s.Failed() {
			text, _ := p.log.Text()
			s.Logf("connector log:\n%s", tail(text, 8000))
		}
	})
	return p
}

// registered waits until the connector has registered and returns what its log
// says of that. It takes a LOG_LEVEL of INFO or DEBUG.
func (p *process) registered() (id session.ConnectorID, address string) {
	p.Helper()
	const line = "connector registered"
	p.waitFor(line)
	text, _ := p.log.Text()
	for text := range strings.Lines(text) {
		var said struct{ Msg, Connector, Address string }
		if strings.Contains(text, line) && json.Unmarshal([]byte(text), &said) == nil && said.Msg == line {
			id, address = session.ConnectorID(said.Connector), said.Address
		}
	}
	return id, address
}

func (s *system) liveConnectors() int {
	return s.rows(`SELECT count(*) FROM connector WHERE lease_until > now() AND NOT draining`)
}

func tail(text string, n int) string {
	if len(text) > n {
		return "..." + text[len(text)-n:]
	}
	return text
}

// waitFor returns when the log holds a text.
func (p *process) waitFor(text string) {
	p.Helper()
	deadline := time.After(patience)
	for {
		written, more := p.log.Text()
		if strings.Contains(written, text) {
			return
		}
		select {
		case <-more:
		case <-p.exited:
			written, _ = p.log.Text()
			if !strings.Contains(written, text) {
				p.Fatalf("the connector ended before it said %q:\n%s", text, written)
			}
			return
		case <-deadline:
			p.Fatalf("the connector never said %q:\n%s", text, written)
		}
	}
}

// signal reaches the connector, and its guard too where both have to hear it: a
// guard passes SIGTERM on, but what freezes or kills a container does that to all
// in it.
func (p *process) signal(sig syscall.Signal) {
	p.Helper()
	below := 0
	if p.guarded && (sig == syscall.SIGSTOP || sig == syscall.SIGCONT || sig == syscall.SIGKILL) {
		below = p.below()
	}
	if err := p.cmd.Process.Signal(sig); err != nil && !errors.Is(err, os.ErrProcessDone) {
		p.Fatal(err)
	}
	if below == 0 {
		return
	}
	if err := syscall.Kill(below, sig); err != nil && !errors.Is(err, syscall.ESRCH) {
		p.Fatal(err)
	}
}

// end tells the connector to leave and returns its exit code.
func (p *process) end() int {
	p.Helper()
	return p.endWithin(patience)
}

// endWithin is end for a connector that may have much to hand back.
func (p *process) endWithin(limit time.Duration) int {
	p.Helper()
	p.once.Do(func() {
		p.signal(syscall.SIGCONT) // where a test froze it
		p.signal(syscall.SIGTERM)
		select {
		case <-p.exited:
		case <-time.After(limit):
			p.signal(syscall.SIGKILL)
			<-p.exited
			text, _ := p.log.Text()
			p.Errorf("the connector did not end within %v of SIGTERM:\n%s", limit, tail(text, 4000))
		}
	})
	<-p.exited
	return p.cmd.ProcessState.ExitCode()
}

// kill ends the connector without a chance to say goodbye.
func (p *process) kill() {
	p.Helper()
	p.once.Do(func() {
		p.signal(syscall.SIGKILL)
		<-p.exited
	})
}

// checkLog looks for what must never be in a log: races of ours, illegal
// transitions, secrets, and what else is bad. whatsmeow has known races of its
// own.
func (p *process) checkLog(secrets []string, bad ...string) {
	p.Helper()
	text, _ := p.log.Text()
	for _, report := range strings.Split(text, "WARNING: DATA RACE")[1:] {
		report, _, _ = strings.Cut(report, "==================")
		if strings.Contains(topFrames(report), "github.com/wafleet/wafleet/") {
			p.Errorf("data race in the connector:\n%s", report)
		}
	}
	for _, bad := range append(bad, "illegal transition") {
		if strings.Contains(text, bad) {
			p.Errorf("the log says %q:\n%s", bad, tail(text, 4000))
		}
	}
	noSecretIn(p.TB, "the log", text, secrets)
}

func noSecretIn(t testing.TB, what, text string, secrets []string) {
	t.Helper()
	for _, secret := range secrets {
		if strings.Contains(text, secret) {
			t.Errorf("%s holds a secret: %.20s...", what, secret)
		}
	}
}

// topFrames returns the frames in which the two accesses of a race report were
// made.
func topFrames(report string) string {
	var frames []string
	lines := strings.Split(report, "\n")
	for i, line := range lines {
		if strings.Contains(line, " by goroutine ") || strings.Contains(line, " by main goroutine") {
			if i+1 < len(lines) {
				frames = append(frames, lines[i+1])
			}
		}
	}
	return strings.Join(frames, "\n")
}
