package chaos

import (
	"fmt"
	"os/exec"
	"path/filepath"
	"sync"
	"syscall"
	"testing"
)

// program is one place in the system: a succession of processes, of which the
// last one runs unless it was made to end.
type program struct {
	testing.TB
	name   string
	binary string
	ready  string // what a process logs before or when it can hear signals
	args   []string
	env    []string

	acting sync.Mutex // what is done to the process is done one after the other

	mu        sync.Mutex
	processes []*process // guarded by mu
}

// end kills what runs, at the end of the test.
func (p *program) end() {
	for _, run := range p.all() {
		run.asked.Store(true)
		run.signal(syscall.SIGKILL) // has no effect on one that has left
		<-run.exited
	}
}

func (p *program) launch() {
	p.mu.Lock()
	defer p.mu.Unlock()
	next := &process{
		TB: p.TB, name: fmt.Sprintf("%s.%d", p.name, len(p.processes)), ready: p.ready,
		cmd: exec.Command(filepath.Join(binaries, p.binary), p.args...),
	}
	next.cmd.Env = p.env
	next.start()
	p.processes = append(p.processes, next)
}

// running returns the process that should run, nil where none should.
func (p *program) running() *process {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.processes) == 0 {
		return nil
	}
	last := p.processes[len(p.processes)-1]
	if last.asked.Load() {
		return nil
	}
	return last
}

func (p *program) all() []*process {
	p.mu.Lock()
	defer p.mu.Unlock()
	return append([]*process(nil), p.processes...)
}
