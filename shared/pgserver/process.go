package pgserver

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"syscall"
	"time"

	"github.com/wafleet/wafleet/shared/child"
)

const (
	// fastGrace is how long a fast shutdown (roll back, disconnect, checkpoint) may take before it becomes an immediate one.
	fastGrace = 20 * time.Second
	// quitGrace is how long the postmaster may take after SIGQUIT; it sends SIGKILL to its own children after 5 s.
	quitGrace = 8 * time.Second
)

// process is a running postmaster.
type process struct{ *child.Process }

// startProcess starts the server in the foreground. Its output goes to out. Where this process is killed, the server gets
// SIGINT, Postgres' fast shutdown.
func startProcess(acct account, bin binaries, args []string, out *logTail) (*process, error) {
	cmd := exec.Command(bin.postgres, args...) // #nosec G204 -- the Postgres that was found
	cmd.SysProcAttr = acct.attrs()
	cmd.Env = childEnv()
	cmd.Dir = "/"
	cmd.Stdout, cmd.Stderr = out, out
	cmd.WaitDelay = waitDelay
	p, err := child.Start(cmd, syscall.SIGINT)
	if err != nil {
		return nil, err
	}
	return &process{p}, nil
}

// stop ends the child with growing force and returns when it has ended. ctx cuts the grace of the fast shutdown short. The
// result is nil if the shutdown was an orderly one.
func (p *process) stop(ctx context.Context) error {
	p.Signal(syscall.SIGINT)
	grace, cancel := context.WithTimeout(ctx, fastGrace)
	defer cancel()
	select {
	case <-p.Gone():
		if err := p.Err(); err != nil {
			return fmt.Errorf("postgres ended: %w", err)
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
	p.Signal(syscall.SIGQUIT)
	timer := time.NewTimer(quitGrace)
	defer timer.Stop()
	select {
	case <-p.Gone(): // how it says that it ended differs by version and does not matter
		return nil
	case <-timer.C:
	}
	p.Signal(syscall.SIGKILL)
	<-p.Gone()
	return errors.New("postgres did not answer to shutdown requests and was killed")
}
