package whatsapp

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"
)

// How long a write under way holds up the end of its term: it may finish, then
// it is cancelled and may fail. Together they are as long as Postgres may be
// silent before a connection is given up.
const (
	writeFinish = 8 * time.Second
	writeCancel = 2 * time.Second
)

// errTermEnded refuses a write that comes after the end of its term.
var errTermEnded = errors.New("the term has ended and its device store is closed")

// errStillWriting: a write neither finished nor failed before it was given up.
var errStillWriting = errors.New("writes to the device store are still under way")

// gate is what every write of a term passes: it refuses those that begin after
// the term, and lets the term's end wait for those that began before. A write
// inside of another enters as well, and so is refused once the gate is shut.
type gate struct {
	held           Fence
	finish, cancel time.Duration

	empty chan struct{}   // closed: shut, and the last write has left
	over  context.Context // ends the writes that nothing else ends
	end   context.CancelFunc

	mu     sync.Mutex
	inside int  // guarded by mu
	isShut bool // guarded by mu
}

func newGate(held Fence) *gate {
	g := &gate{held: held, finish: writeFinish, cancel: writeCancel, empty: make(chan struct{})}
	g.over, g.end = context.WithCancel(context.Background())
	return g
}

// write runs do inside of the gate, unless the term has ended. What do writes
// must be committed when it returns.
func (g *gate) write(ctx context.Context, do func(context.Context) error) error {
	if err := g.enter(); err != nil {
		return err
	}
	defer g.leave()
	if err := g.held(); err != nil {
		return err
	}
	if ctx.Done() == nil {
		var done func()
		ctx, done = g.endless(ctx)
		defer done()
	}
	return do(ctx)
}

// endless gives an end to a context that has none: whatsmeow uses such for what
// it wants to finish after its connection. done must be called.
func (g *gate) endless(ctx context.Context) (_ context.Context, done func()) {
	ctx, cancel := context.WithCancel(ctx)
	stop := context.AfterFunc(g.over, cancel)
	return ctx, func() {
		stop()
		cancel()
	}
}

// check says whether a write that is inside may be committed.
func (g *gate) check() error {
	g.mu.Lock()
	isShut := g.isShut
	g.mu.Unlock()
	if isShut {
		return errTermEnded
	}
	return g.held()
}

func (g *gate) enter() error {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.isShut {
		return errTermEnded
	}
	g.inside++
	return nil
}

func (g *gate) leave() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.inside--
	if g.isShut && g.inside == 0 {
		close(g.empty)
	}
}

// shut refuses writes from now on.
func (g *gate) shut() {
	g.mu.Lock()
	defer g.mu.Unlock()
	if !g.isShut && g.inside == 0 {
		close(g.empty)
	}
	g.isShut = true
}

// close shuts the gate and returns when no write is inside, or with
// errStillWriting when one cannot be ended. A term that was taken away leaves
// nothing to finish.
func (g *gate) close() error {
	g.shut()
	if g.held() == nil && g.emptyWithin(g.finish) {
		return nil
	}
	g.end()
	if g.emptyWithin(g.cancel) {
		return nil
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	return fmt.Errorf("%w: %d do not heed that they are cancelled", errStillWriting, g.inside)
}

func (g *gate) emptyWithin(limit time.Duration) bool {
	timer := time.NewTimer(limit)
	defer timer.Stop()
	select {
	case <-g.empty:
		return true
	case <-timer.C:
		return isClosed(g.empty)
	}
}
