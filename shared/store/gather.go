package store

import (
	"context"
	"errors"
	"slices"
	"sync"

	"github.com/wafleet/wafleet/shared/session"
)

const (
	// gatherers is how many statements of one kind run at once: a second one
	// serves who comes while the first hangs.
	gatherers = 2
	// gatherMost bounds what one statement is asked.
	gatherMost = 500
)

// errLeft says that whoever ran a statement left before its end.
var errLeft = errors.New("the statement was given up")

// gather makes one statement of many calls, so that a storm costs the database
// little. A call that comes while none runs is run at once, by itself. Those that
// come while statements run wait for the next, which serves all of them. Callers
// run the statements for each other; nothing is left running when they are gone.
type gather[K, V any] struct {
	mu      sync.Mutex
	running int
	waiting []*gathered[K, V]
}

// gathered is a call and, once it was served, its answer.
type gathered[K, V any] struct {
	key    K
	value  V
	err    error
	shared bool      // err is of a statement that served others too
	woken  chan bool // true: it runs the next statement; false: it was served
}

// do returns the value of a key. run gets up to gatherMost keys, and returns a
// value for each. That the database cannot be reached is everybody's error. Any
// other may be one key's fault, and the end of a context is that of who ran the
// statement: then every caller asks again, by itself in the first case.
func (g *gather[K, V]) do(ctx context.Context, key K, run func(context.Context, []K) ([]V, error)) (V, error) {
	for {
		c := &gathered[K, V]{key: key, woken: make(chan bool, 1)}
		leads := g.join(c)
		if !leads {
			select {
			case leads = <-c.woken:
			case <-ctx.Done():
				g.leave(c)
				var none V
				return none, domain("wait for a statement", ctx.Err())
			}
		}
		if leads {
			g.lead(ctx, c, run)
		}
		switch {
		case c.err == errLeft:
		case c.err != nil && c.shared && !errors.Is(c.err, session.ErrUnavailable):
			alone, err := run(ctx, []K{key})
			if err != nil {
				return c.value, err
			}
			return alone[0], nil
		default:
			return c.value, c.err
		}
	}
}

// join queues a call, unless it may run a statement at once.
func (g *gather[K, V]) join(c *gathered[K, V]) (leads bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.running == gatherers {
		g.waiting = append(g.waiting, c)
		return false
	}
	g.running++
	return true
}

// lead runs one statement for a call and all that wait, and appoints who runs
// the next.
func (g *gather[K, V]) lead(ctx context.Context, c *gathered[K, V], run func(context.Context, []K) ([]V, error)) {
	calls := append([]*gathered[K, V]{c}, g.take(gatherMost-1)...)
	keys := make([]K, len(calls))
	for i, c := range calls {
		keys[i] = c.key
	}
	// Whatever happens in it, nobody waits for ever.
	err := errLeft
	var values []V
	defer func() {
		for i, c := range calls {
			c.shared = len(calls) > 1
			if c.err = err; err == nil {
				c.value = values[i]
			}
			if i > 0 {
				if err != nil && ctx.Err() != nil {
					c.err = errLeft
				}
				c.woken <- false
			}
		}
		g.next()
	}()
	values, err = run(ctx, keys)
}

func (g *gather[K, V]) take(most int) []*gathered[K, V] {
	g.mu.Lock()
	defer g.mu.Unlock()
	n := min(most, len(g.waiting))
	taken := slices.Clone(g.waiting[:n])
	g.waiting = slices.Delete(g.waiting, 0, n)
	return taken
}

// next lets the first that waits run the next statement.
func (g *gather[K, V]) next() {
	g.mu.Lock()
	defer g.mu.Unlock()
	if len(g.waiting) == 0 {
		g.running--
		return
	}
	g.waiting[0].woken <- true
	g.waiting = slices.Delete(g.waiting, 0, 1)
}

// leave takes a call back whose caller does not wait any longer.
func (g *gather[K, V]) leave(c *gathered[K, V]) {
	g.mu.Lock()
	i := slices.Index(g.waiting, c)
	if i >= 0 {
		g.waiting = slices.Delete(g.waiting, i, i+1)
	}
	g.mu.Unlock()
	if i >= 0 {
		return
	}
	select {
	case leads := <-c.woken:
		if leads {
			g.next()
		}
	default: // being served
	}
}
