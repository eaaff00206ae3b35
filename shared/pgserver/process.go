package pgserver

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"syscall"
	"time"
)

const (
	// fastGrace is how long a fast shutdown (roll back, disconnect, checkpoint) may take before it becomes an immediate one.
	fastGrace = 20 * time.Second
	// quitGrace is how long the postmaster may take after SIGQUIT; it sends SIGKILL to its own children after 5 s.
	quitGrace = 8 * time.Second
)

// process is a running postmaster.
type process struct {
	proc *os.Process
	done chan struct{} // closed when the child has ended and its output is read
	err  error         // how it ended; valid once done is closed
}

// startProcess starts the server in the foreground. Its output goes to out.
func startProcess(acct account, bin binaries, args []string, out *logTail) (*process, error) {
	cmd := exec.Command(bin.postgres, args...)
	cmd.SysProcAttr = acct.attrs()
	dieWithParent(cmd.SysProcAttr)
	cmd.Env = childEnv()
	cmd.Dir = "/"
	cmd.Stdout, cmd.Stderr = out, out
	cmd.WaitDelay = waitDelay

	p := &process{done: make(chan struct{})}
	started := make(chan error)
	go func() {
		// The parent-death signal fires when the forking thread ends, so this thread must live as long as the child.
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		defer close(p.done)
		if err := cmd.Start(); err != nil {
			started <- err
			return
		}
		p.proc = cmd.Process
		started <- nil
		p.err = cmd.Wait()
	}()
	if err := <-started; err != nil {
		<-p.done
		return nil, fmt.Errorf("start %s: %w", bin.postgres, err)
	}
	return p, nil
}

// stop ends the child with growing force and returns when it has ended. ctx cuts the grace of the fast shutdown short. The
// result is nil if the shutdown was an orderly one.
func (p *process) stop(ctx context.Context) error {
	p.signal(syscall.SIGINT)
	grace, cancel := context.WithTimeout(ctx, fastGrace)
	defer cancel()
	select {
	case <-p.done:
		if p.err != nil {
			return fmt.Errorf("postgres ended: %w", p.err)
		}
		return nil
	case <-grace.Done():
	}
	if err := p.crash(); err != nil {
		return err
	}
	return fmt.Errorf("postgres did not end by a fast shutdown, ended by an immediate one: %w", context.Cause(grace))
}

// crash ends the child by an immediate shutdown, which writes nothing, and returns when it has ended.
func (p *process) crash() error {
	p.signal(syscall.SIGQUIT)
	timer := time.NewTimer(quitGrace)
	defer timer.Stop()
	select {
	case <-p.done: // how it says that it ended differs by version and does not matter
		return nil
	case <-timer.C:
	}
	p.signal(syscall.SIGKILL)
	<-p.done
	return errors.New("postgres did not answer to shutdown requests and was killed")
}

// signal ignores the one error there can be: that the child has ended already.
func (p *process) signal(sig syscall.Signal) {
	_ = p.proc.Signal(sig)
}
