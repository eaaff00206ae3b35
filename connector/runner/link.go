package runner

import (
	"context"
	"errors"
	"time"

	"github.com/wafleet/wafleet/connector/event"
	"github.com/wafleet/wafleet/shared/session"
)

// link is the one connection of a runner. Its operations run in the
// background, strictly one after the other.
type link struct {
	runner  *Runner
	ctx     context.Context
	attempt int                // events of other attempts are stale
	conn    Conn               // nil while there is none
	cancel  context.CancelFunc // ends the attempt; nil while there is none
	idle    chan struct{}      // closed when the last operation has ended
}

// dialed is the result of a connection attempt.
type dialed struct {
	attempt int
	conn    Conn
	err     error
}

// dial starts a connection attempt, after whatever is under way.
func (l *link) dial(jid string) {
	l.attempt++
	attempt, r := l.attempt, l.runner
	ctx, cancel := context.WithCancel(l.ctx)
	l.cancel = cancel
	l.background(func() {
		conn, err := l.connect(ctx, attempt, jid)
		if !r.post(dialed{attempt, conn, err}) && conn != nil {
			conn.Close()
		}
	})
}

func (l *link) connect(ctx context.Context, attempt int, jid string) (Conn, error) {
	r := l.runner
	if err := r.deps.Pacer.Wait(ctx); err != nil {
		return nil, err
	}
	return r.device.Connect(ctx, jid, func(e event.Event) { r.post(fromConn{attempt, e}) })
}

// close ends the connection, or the attempt to make one. Its events are stale
// from now on.
func (l *link) close() {
	l.attempt++
	conn, cancel := l.conn, l.cancel
	l.conn, l.cancel = nil, nil
	switch {
	case conn != nil:
		l.background(func() {
			conn.Close()
			cancel()
		})
	case cancel != nil:
		cancel()
	}
}

// background runs an operation when the one before has ended.
func (l *link) background(do func()) {
	before, done := l.idle, make(chan struct{})
	l.idle = done
	go func() {
		defer close(done)
		<-before
		l.runner.guard(do)
	}()
}

// dial begins the next connection attempt.
func (r *Runner) dial() {
	if !r.move(dialing, r.reason) {
		return
	}
	r.stopTimer() // the dial is bounded by itself
	r.link.dial(r.jid)
}

// onDialed takes the connection over.
func (r *Runner) onDialed(d dialed) {
	if d.attempt != r.link.attempt {
		if d.conn != nil {
			r.link.background(d.conn.Close)
		}
		return
	}
	if d.err != nil {
		r.onDialFailed(d.err)
		return
	}
	r.link.conn = d.conn
	switch r.phase {
	case dialing: // no event overtook the answer
		r.setTimer(r.deps.Timing.Login)
		if r.jid != "" {
			r.move(loggingIn, r.reason)
		}
	case scanning:
		r.askPhone()
	}
}

func (r *Runner) onDialFailed(err error) {
	switch {
	case errors.Is(err, event.ErrNoDevice):
		r.loggedOut("its credentials are no longer in the device store")
	case errors.Is(err, event.ErrStore):
		r.lost(reason{code: session.StoreError})
	case r.config.Proxy != nil:
		r.lost(reason{code: session.ProxyError})
	default:
		r.log.Warn("connection attempt failed", "attempt", r.attempts+1, "error", clean(err.Error()))
		r.lost(reason{code: session.Unreachable})
	}
}

// lost closes the connection and pauses before the next attempt. After a lost
// working connection the session shows as WORKING for the grace.
func (r *Runner) lost(why reason) {
	if r.phase == working && time.Since(r.connectedAt) >= r.deps.Timing.Stable {
		r.attempts = 0
	}
	if r.phase == scanning || r.phase == dialing {
		r.dropCodes()
	}
	r.link.close()
	r.attempts++
	r.deps.Observer.Reconnect(why.code)
	pause := r.deps.Timing.Pause.Pause(r.attempts)
	why.retryIn = pause
	if r.move(pausing, why) {
		r.setTimer(pause)
	}
}

// reconnect closes the connection and dials at once, where the plan says so.
func (r *Runner) reconnect() {
	r.link.close()
	r.dial()
}

// beginGrace lets a lost connection show as WORKING for a while.
func (r *Runner) beginGrace() {
	r.held = true
	r.grace.Reset(r.deps.Timing.Grace)
}

func (r *Runner) endGrace() {
	r.held = false
	r.grace.Stop()
}

func (r *Runner) setTimer(d time.Duration) { r.timer.Reset(d) }

func (r *Runner) stopTimer() { r.timer.Stop() }

// probed is the result of an extra keepalive.
type probed struct {
	attempt int
	ok      bool
}

// probe asks WhatsApp for a sign of life.
func (r *Runner) probe() {
	conn, attempt := r.link.conn, r.link.attempt
	if conn == nil {
		return
	}
	ctx, cancel := context.WithTimeout(r.link.ctx, r.deps.Timing.Probe)
	r.writes.aside(func() {
		defer cancel()
		r.post(probed{attempt, conn.Probe(ctx)})
	})
}

func (r *Runner) onProbed(p probed) {
	if p.attempt == r.link.attempt && !p.ok && r.phase == working {
		r.lost(reason{code: session.KeepAlive})
	}
}
