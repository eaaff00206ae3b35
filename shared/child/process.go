package child

import (
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"syscall"
)

// Process is a child that runs, or has ended.
type Process struct {
	proc *os.Process
	gone chan struct{}
	err  error // valid once gone is closed
}

// Start starts a command that dies with this process: the kernel then sends it
// orphaned (Linux only). It has a process group of its own unless the command
// says otherwise.
func Start(cmd *exec.Cmd, orphaned syscall.Signal) (*Process, error) {
	if cmd.SysProcAttr == nil {
		cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	}
	dieWithParent(cmd.SysProcAttr, orphaned)
	p := &Process{gone: make(chan struct{})}
	started := make(chan error)
	go func() {
		// The parent-death signal comes when the thread ends that forked, so that
		// thread has to live as long as the child.
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		defer close(p.gone)
		err := cmd.Start()
		p.proc = cmd.Process
		started <- err
		if err == nil {
			p.err = cmd.Wait()
		}
	}()
	if err := <-started; err != nil {
		<-p.gone
		return nil, fmt.Errorf("start %s: %w", cmd.Path, err)
	}
	return p, nil
}

// Pid is the process's number.
func (p *Process) Pid() int { return p.proc.Pid }

// Gone is closed when the process has ended and its output is read.
func (p *Process) Gone() <-chan struct{} { return p.gone }

// Err waits until the process is gone and says how it ended, as [exec.Cmd.Wait]
// does.
func (p *Process) Err() error {
	<-p.gone
	return p.err
}

// Signal ignores the one error there can be: that the process has ended already.
func (p *Process) Signal(sig os.Signal) { _ = p.proc.Signal(sig) }
