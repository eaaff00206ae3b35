package child

import (
	"context"
	"errors"
	"os/exec"
	"syscall"
	"time"

	"github.com/wafleet/wafleet/shared/backoff"
)

// ErrKilled: the process did not end in time after it was asked to.
var ErrKilled = errors.New("it did not end when asked and was killed")

const (
	defaultGrace  = 8 * time.Second
	defaultSteady = 30 * time.Second
)

var defaultRestart = backoff.Policy{Base: 500 * time.Millisecond, Max: 10 * time.Second}

// Program is what to run. Line and Ended are called one at a time.
type Program struct {
	Path string
	Args []string // without the program's name
	Env  []string // the whole environment

	// Line gets every line of the output, without its end. Nil discards.
	Line func(line string)
	// Ended is told of every end, also of the last one. Nil ignores.
	Ended func(End)

	Grace   time.Duration  // between SIGTERM and SIGKILL; 8 s if 0
	Restart backoff.Policy // pauses before a restart; 0.5 s growing to 10 s if zero
	Steady  time.Duration  // a run of this length starts the pauses anew; 30 s if 0
}

// End is how one run ended.
type End struct {
	Err   error         // nil: exit status 0
	Asked bool          // the parent asked for it
	Pause time.Duration // until the next start; meaningless where Asked
}

func (p Program) withDefaults() Program {
	if p.Line == nil {
		p.Line = func(string) {}
	}
	if p.Ended == nil {
		p.Ended = func(End) {}
	}
	if p.Grace == 0 {
		p.Grace = defaultGrace
	}
	if p.Restart == (backoff.Policy{}) {
		p.Restart = defaultRestart
	}
	if p.Steady == 0 {
		p.Steady = defaultSteady
	}
	return p
}

// Keep runs the program until ctx ends, and starts it again whenever it ends
// before. When hurry ends too, the process is killed without further grace. The
// result is the error of the last run where that was not an orderly one.
func Keep(ctx, hurry context.Context, p Program) error {
	p = p.withDefaults()
	for attempt := 1; ctx.Err() == nil; attempt++ {
		started := time.Now()
		end := p.once(ctx, hurry)
		if end.Asked {
			p.Ended(end)
			return end.Err
		}
		if time.Since(started) >= p.Steady {
			attempt = 1
		}
		end.Pause = p.Restart.Pause(attempt)
		p.Ended(end)
		wait(ctx, end.Pause)
	}
	return nil
}

func wait(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}

// outputDelay is how long output may stay open after the process has ended,
// where a grandchild inherited it.
const outputDelay = time.Second

// once is one run of the program.
func (p Program) once(ctx, hurry context.Context) End {
	out := &lines{emit: p.Line}
	cmd := exec.Command(p.Path, p.Args...) // #nosec G204 -- running the program of its caller is what it is for
	cmd.Env = p.Env
	cmd.Stdout, cmd.Stderr = out, out // one pipe, so that lines keep their order
	cmd.WaitDelay = outputDelay
	run, err := Start(cmd, syscall.SIGKILL)
	if err != nil {
		return End{Err: err}
	}
	defer out.flush()
	select {
	case <-run.Gone():
		return End{Err: run.Err()}
	case <-ctx.Done():
		return End{Err: stop(run, hurry, p.Grace), Asked: true}
	}
}

// stop asks, waits and kills. It returns when the process is gone.
func stop(run *Process, hurry context.Context, grace time.Duration) error {
	run.Signal(syscall.SIGTERM)
	timer := time.NewTimer(grace)
	defer timer.Stop()
	select {
	case <-run.Gone():
		return run.Err()
	case <-timer.C:
	case <-hurry.Done():
	}
	run.Signal(syscall.SIGKILL)
	<-run.Gone()
	return ErrKilled
}
