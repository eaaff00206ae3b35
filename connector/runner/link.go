package runner

import (
	"context"
	"errors"
	"time"

	"github.com/wafleet/wafleet/connector/event"
	"github.com/wafleet/wafleet/shared/session"
)

// link is the one connection of a runner. Its operations run in the
// background, strictly one after the other, so that a dial starts only when
// whatever the one before made is closed again.
type link struct {
	runner  *Runner
	ctx     context.Context
	attempt int           // events of other attempts are stale
	current *attempt      // nil while there is none
	conn    Conn          // the current attempt's, once the loop has heard of it
	idle    chan struct{} // closed when the last operation has ended
}

// attempt is one try to connect and the connection that it makes.
type attempt struct {
	ctx    context.Context // ends when the connection is closed
	cancel context.CancelFunc
	conn   Conn      // belongs to the operations in the background
	down   time.Time // when it was first seen to be over untold; belongs to the loop
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
	a, number := &attempt{}, l.attempt
	a.ctx, a.cancel = context.WithCancel(l.ctx)
	l.current = a
	l.background(func() {
		var err error
		a.conn, err = l.connect(a, number, jid)
		l.runner.post(dialed{number, a.conn, err})
	})
}

// connect makes a connection. What bounds it is the dial's own deadline, from
// its turn on: the context that a connection is made with lives as long as it.
func (l *link) connect(a *attempt, number int, jid string) (Conn, error) {
	r := l.runner
	if err := r.deps.Pacer.Wait(a.ctx); err != nil {
		return nil, err
	}
	late := time.AfterFunc(r.deps.Timing.Dial, a.cancel)
	defer late.Stop()
	return r.device.Connect(a.ctx, jid, func(e event.Event) { r.post(fromConn{number, e}) })
}

// close ends the connection, or the attempt to make one. Its events are stale
// from now on. A dial that finishes all the same is closed before the next.
func (l *link) close() {
	l.attempt++
	a, made := l.current, l.conn != nil
	if made {
		l.runner.heard = lastHeard(l.conn, l.runner.heard)
	}
	l.current, l.conn = nil, nil
	if a == nil {
		return
	}
	if !made {
		a.cancel()
	}
	l.background(func() {
		defer a.cancel()
		if a.conn != nil {
			a.conn.Close()
		}
	})
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

// dial begins the next connection attempt. A device that was just linked logs
// in only once it is recorded, so that a crash cannot lose it.
func (r *Runner) dial() {
	if r.pairing.unsaved {
		r.pairing.mayRelink = true
		return
	}
	if !r.move(dialing, r.reason) {
		return
	}
	r.stopTimer() // the dial is bounded by itself
	r.link.dial(r.jid)
}

// onDialed takes the connection over.
func (r *Runner) onDialed(d dialed) {
	if d.attempt != r.link.attempt {
		return // whoever gave the attempt up has its connection closed
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
	case unlinking:
		r.askToUnlink()
	}
}

func (r *Runner) onDialFailed(err error) {
	if errors.Is(err, event.ErrNoDevice) {
		r.loggedOut("its credentials are no longer in the device store")
		return
	}
	code := session.Unreachable
	switch {
	case errors.Is(err, event.ErrStore):
		code = session.StoreError
	case r.config.Config.Proxy != nil:
		code = session.ProxyError
	}
	r.log.Warn("connection attempt failed", "reason", string(code), "attempt", r.attempts[code]+1, "error", clean(err.Error()))
	r.lost(reason{code: code})
}

// lost closes the connection and pauses before the next attempt. After a lost
// working connection the session shows as WORKING for the grace.
func (r *Runner) lost(why reason) {
	if r.phase == working && time.Since(r.connectedAt) >= r.deps.Timing.Stable {
		r.attempts = nil
	}
	r.link.close()
	r.reconnects.Add(time.Now())
	r.deps.Observer.Reconnect(why.code)
	r.pause(why)
}

// pause waits before the next attempt, longer each time that the same reason
// ends one: a network that fails says nothing about how long a refusal lasts.
func (r *Runner) pause(why reason) {
	if r.attempts == nil {
		r.attempts = map[session.ReasonCode]int{}
	}
	r.attempts[why.code]++
	policy := r.deps.Timing.Pause
	if refusal(why.code) {
		policy = r.deps.Timing.Refused
	}
	why.retryIn = policy.Pause(r.attempts[why.code])
	if r.move(pausing, why) {
		r.setTimer(why.retryIn)
	}
}

// refusal reports whether a reason is an answer of WhatsApp to a login.
func refusal(code session.ReasonCode) bool {
	return code == session.ClientOutdated || code.IsConnectFailure()
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
	conn, number := r.link.conn, r.link.attempt
	if conn == nil || r.probing == number {
		return
	}
	r.probing = number
	ctx, cancel := context.WithTimeout(r.link.current.ctx, r.deps.Timing.Probe)
	r.writes.aside(func() {
		defer cancel()
		r.post(probed{number, conn.Probe(ctx)})
	})
}

func (r *Runner) onProbed(p probed) {
	if p.attempt != r.link.attempt {
		return
	}
	r.probing = 0
	if !p.ok && r.phase == working {
		r.lost(reason{code: session.KeepAlive})
	}
}
