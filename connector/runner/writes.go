package runner

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/wafleet/wafleet/shared/backoff"
	"github.com/wafleet/wafleet/shared/session"
)

// Bounds of a write that the runner makes by itself.
const writeTimeout = 5 * time.Second

var writePause = backoff.Policy{Base: 100 * time.Millisecond, Max: 2 * time.Second}

// writeFenced says that a write was refused because the term is over.
type writeFenced struct{ err error }

// writes is the runner's fenced writes, in order, each tried until it is
// written, the loop ends or the authority ends. A goroutine exists only while
// there is something to write. Safe for concurrent use.
type writes struct {
	ctx     context.Context // the authority
	loop    context.Context // ends with the loop
	endLoop context.CancelFunc
	runner  *Runner
	wg      sync.WaitGroup

	mu     sync.Mutex
	queue  []write // guarded by mu
	active bool    // guarded by mu; a goroutine works on the queue
}

type write struct {
	ctx  context.Context // how long it is worth trying
	what string
	do   func(context.Context) error
	then func(error) message // nil: nobody needs to know
}

func newWrites(ctx context.Context, r *Runner) *writes {
	loop, endLoop := context.WithCancel(ctx)
	return &writes{ctx: ctx, loop: loop, endLoop: endLoop, runner: r}
}

// do enqueues a write that is worthless once the loop has ended: the release
// makes up for it. then makes the message that tells the loop; its error is one
// that trying again cannot mend.
func (w *writes) do(what string, do func(context.Context) error, then func(error) message) {
	w.add(write{w.loop, what, do, then})
}

// must enqueues a write that holds up the end of the term: which device a
// session has is known to nobody else.
func (w *writes) must(what string, do func(context.Context) error, then func(error) message) {
	w.add(write{w.ctx, what, do, then})
}

func (w *writes) add(next write) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.queue = append(w.queue, next)
	if !w.active {
		w.active = true
		w.aside(w.work)
	}
}

// aside runs something else beside the loop and waits for it at the end.
func (w *writes) aside(do func()) { w.wg.Go(func() { w.runner.guard(do) }) }

// wait returns when everything is written or given up.
func (w *writes) wait() { w.wg.Wait() }

func (w *writes) work() {
	for {
		next, ok := w.next()
		if !ok {
			return
		}
		err := w.try(next)
		switch {
		case isOver(err):
			w.runner.post(writeFenced{err})
		case next.ctx.Err() != nil:
		case next.then != nil && w.runner.post(next.then(err)):
		case err != nil:
			w.runner.log.Error("a write was refused", "what", next.what, "error", err.Error())
		}
	}
}

func (w *writes) next() (write, bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.queue) == 0 {
		w.active = false
		return write{}, false
	}
	next := w.queue[0]
	w.queue = w.queue[1:]
	return next, true
}

// try repeats a write while the database is unavailable.
func (w *writes) try(next write) error {
	for n := 1; ; n++ {
		if next.ctx.Err() != nil {
			return next.ctx.Err()
		}
		attempt, cancel := context.WithTimeout(next.ctx, writeTimeout)
		err := next.do(attempt)
		cancel()
		if err == nil || !errors.Is(err, session.ErrUnavailable) || next.ctx.Err() != nil {
			return err
		}
		w.runner.log.Warn("a write failed; trying again", "what", next.what, "attempt", n, "error", err.Error())
		select {
		case <-next.ctx.Done():
			return err
		case <-time.After(writePause.Pause(n)):
		}
	}
}
