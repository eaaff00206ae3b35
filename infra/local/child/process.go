package child

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"syscall"
	"time"
)

// outputDelay is how long output may stay open after the process has ended,
// where a grandchild inherited it.
const outputDelay = time.Second

// process is one run.
type process struct {
	proc *os.Process
	gone chan struct{} // closed when the process has ended and its output is read
	err  error         // how it ended; valid once gone is closed
}

func start(p Program) (*process, error) {
	out := &lines{emit: p.Line}
	cmd := exec.Command(p.Path, p.Args...)
	cmd.Env = p.Env
	cmd.ExtraFiles = p.Files
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	dieWithParent(cmd.SysProcAttr)
	cmd.Stdout, cmd.Stderr = out, out // one pipe, so that lines keep their order
	cmd.WaitDelay = outputDelay

	run := &process{gone: make(chan struct{})}
	started := make(chan error)
	go func() {
		// The parent-death signal comes when the thread ends that forked, so that
		// thread has to live as long as the child.
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		defer close(run.gone)
		err := cmd.Start()
		run.proc = cmd.Process
		started <- err
		if err == nil {
			run.err = cmd.Wait()
			out.flush()
		}
	}()
	if err := <-started; err != nil {
		<-run.gone
		return nil, fmt.Errorf("start: %w", err)
	}
	return run, nil
}

// stop asks, waits and kills. It returns when the process is gone.
func (r *process) stop(hurry context.Context, grace time.Duration) error {
	r.signal(syscall.SIGTERM)
	timer := time.NewTimer(grace)
	defer timer.Stop()
	select {
	case <-r.gone:
		return r.err
	case <-timer.C:
	case <-hurry.Done():
	}
	r.signal(syscall.SIGKILL)
	<-r.gone
	return ErrKilled
}

// signal ignores the one error there can be: that the process has ended already.
func (r *process) signal(sig syscall.Signal) { _ = r.proc.Signal(sig) }
