package runner

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime/debug"
	"sync/atomic"
	"time"

	"github.com/wafleet/wafleet/connector/event"
	"github.com/wafleet/wafleet/shared/session"
	"github.com/wafleet/wafleet/shared/store"
	"github.com/wafleet/wafleet/shared/telemetry"
)

// mailboxSize bounds the messages that wait for the loop. Senders wait beyond
// it; a connection says little.
const mailboxSize = 16

// Runner runs one session for one term. Only the goroutine in Run touches its
// fields, except the mailbox and what says otherwise.
type Runner struct {
	deps   Deps
	term   store.Term
	device Device
	log    *slog.Logger
	level  *slog.LevelVar

	mail  chan message
	done  chan struct{}         // closed when the loop has ended
	sight atomic.Pointer[sight] // for other goroutines

	opened   session.Stored // what the device store and the way to WhatsApp were opened with
	config   session.Stored
	wanted   session.Wanted
	jid      string
	linked   session.Generation // the request at which the device was linked
	faults   int                // terms in a row before this one that a bug ended
	pushName string

	phase  phase
	reason reason
	shown  store.Report // the last report, so that nothing is reported twice

	timer *time.Timer // the end of the current phase
	grace *time.Timer // until a lost connection stops showing as WORKING
	late  *time.Timer // until a device that cannot be unlinked is forgotten all the same
	limit bool        // late runs
	held  bool        // within the grace

	probing int // the connection attempt that a probe is under way for, or 0

	link    link
	writes  *writes
	pairing pairing

	attempts    map[session.ReasonCode]int // connection attempts in a row that did not last, by what ended them
	refusals    int                        // refused logins in a row
	refreshed   bool
	connectedAt time.Time
	heard       time.Time        // WhatsApp's last sign of life on connections that are closed
	reconnects  session.LastHour // also of terms before this one
	outcome     Outcome
}

// reason is why the runner is in its phase; the zero value is none.
type reason struct {
	code    session.ReasonCode
	detail  string
	retryIn time.Duration
}

// message is anything that the loop must hear.
type message interface{}

type (
	// fromConn is an event of a connection.
	fromConn struct {
		attempt int
		event   event.Event
	}
	// begun is the first message.
	begun struct{}
	// asked is a change of what the user wants.
	asked struct{ change store.Change }
	// released asks for the session to be given back.
	released struct{}
	// movedAway asks for it to be given back if it works.
	movedAway struct{}
	// panicked ends the term.
	panicked struct {
		value any
		stack []byte
	}
)

// New prepares a term; Run runs it.
func New(deps Deps, term Term) *Runner {
	claim := term.Claim
	r := &Runner{
		deps: deps, term: store.Term{ID: claim.ID, Epoch: claim.Epoch}, device: term.Device, log: term.Log, level: term.Level,
		mail: make(chan message, mailboxSize), done: make(chan struct{}),
		opened: claim.Config, config: claim.Config, wanted: claim.Wanted, jid: claim.JID, linked: claim.Linked, faults: claim.Faults, pushName: claim.PushName, reconnects: claim.Reconnects,
		phase: pausing, timer: stoppedTimer(), grace: stoppedTimer(), late: stoppedTimer(),
	}
	r.mail <- begun{} // there is room
	// The claim has written STARTING already.
	r.shown = store.Report{Term: r.term, State: session.Starting, Seen: r.wanted.Generation, Reconnects: r.reconnects}
	return r
}

func stoppedTimer() *time.Timer {
	t := time.NewTimer(time.Hour)
	t.Stop()
	return t
}

// Tell hands over a change of what the user wants. It may be called from any
// goroutine, also after Run has returned.
func (r *Runner) Tell(change store.Change) { r.post(asked{change}) }

// Release asks the runner to give the session back, for another to continue.
func (r *Runner) Release() { r.post(released{}) }

// MoveAway asks the runner to give the session back if it is logged in and
// undisturbed, and otherwise for nothing.
func (r *Runner) MoveAway() { r.post(movedAway{}) }

// post sends to the loop and reports whether it may still hear.
func (r *Runner) post(m message) bool {
	select {
	case <-r.done:
		return false
	default:
	}
	select {
	case r.mail <- m:
		return true
	case <-r.done:
		return false
	}
}

// Run runs the session until it is stopped, released, failed or fenced. ctx is
// the authority to act: its end closes the socket at once and writes nothing.
// When Run returns, the socket and the device store are closed; see the package
// for how long that may take.
func (r *Runner) Run(ctx context.Context) Outcome {
	defer r.timer.Stop()
	defer r.grace.Stop()
	defer r.late.Stop()
	r.link = link{runner: r, ctx: ctx, idle: closedChannel()}
	r.writes = newWrites(ctx, r)
	for r.phase != ended {
		r.step(ctx)
	}
	close(r.done)
	r.writes.endLoop()
	r.link.close()
	<-r.link.idle
	r.writes.wait()
	r.leaveStore(ctx)
	return r.outcome
}

// step hears one message. A panic in it ends the term, not the process.
func (r *Runner) step(ctx context.Context) {
	defer func() {
		if value := recover(); value != nil {
			r.onPanic(panicked{value, debug.Stack()})
		}
	}()
	if ctx.Err() != nil { // comes before whatever else waits
		r.endFenced(context.Cause(ctx))
		return
	}
	select {
	case <-ctx.Done():
		r.endFenced(context.Cause(ctx))
	case m := <-r.mail:
		r.hear(m)
	case <-r.timer.C:
		r.onDeadline()
	case <-r.grace.C:
		r.held = false
		r.show()
	case <-r.late.C:
		r.onLate()
	}
	r.look()
}

func (r *Runner) hear(m message) {
	switch m := m.(type) {
	case begun:
		r.begin()
	case fromConn:
		if m.attempt == r.link.attempt {
			r.onEvent(m.event)
		}
	case dialed:
		r.onDialed(m)
	case probed:
		r.onProbed(m)
	case doubted:
		r.onDoubted(m)
	case codesStored:
		r.onCodesStored(m)
	case deviceStored:
		r.onDeviceStored(m)
	case codeMade:
		r.onCodeMade(m)
	case unlinked:
		r.onUnlinked(m)
	case forgotten:
		r.onForgotten(m)
	case holdingChecked:
		r.onHoldingChecked(m)
	case versionRefreshed:
		r.onVersionRefreshed(m)
	case asked:
		r.onAsked(m.change)
	case released:
		r.handOver(Drained)
	case movedAway:
		if r.phase == working && r.probing != r.link.attempt {
			r.handOver(MovedAway)
		}
	case writeFenced:
		r.endFenced(m.err)
	case panicked:
		r.onPanic(m)
	}
}

// move changes the phase, by the table only.
func (r *Runner) move(to phase, why reason) bool {
	if !r.phase.mayMove(to) {
		return r.illegal(to)
	}
	r.phase, r.reason = to, why
	switch to {
	case working, scanning:
		r.endGrace()
	case pausing:
		r.pairing.mayRelink = false
		r.dropCodes()
	}
	r.show()
	return true
}

// illegal counts a move that must not be, and returns false.
func (r *Runner) illegal(to phase) bool {
	r.deps.Observer.IllegalTransition()
	r.log.Error("illegal transition", "from", string(r.phase), "to", string(to))
	return false
}

// end leaves the loop with a last report.
func (r *Runner) end(status session.Status, why reason) {
	if r.phase == ended {
		return
	}
	if status == session.Failed && r.giveUpUnlinking(why) {
		return
	}
	r.log.Info("term ends", "state", string(status), "reason", string(why.code))
	r.phase = ended
	r.outcome.Report = r.report(status, why)
}

func (r *Runner) fail(code session.ReasonCode, detail string) {
	r.end(session.Failed, reason{code: code, detail: detail})
}

// handOver gives the session back as it is: whoever continues starts over.
func (r *Runner) handOver(why Handover) {
	if r.phase != ended {
		r.outcome.Handover = why
	}
	r.end(session.Starting, reason{})
}

func (r *Runner) endFenced(cause error) {
	if r.phase == ended {
		return
	}
	r.phase = ended
	r.outcome.Fenced = cause
}

func (r *Runner) countPanic(p panicked) {
	r.deps.Observer.Panic()
	r.log.Error("a panic ended the term", "panic", telemetry.Redact(fmt.Sprint(p.value)), "stack", string(p.stack))
}

func (r *Runner) onPanic(p panicked) {
	r.countPanic(p)
	r.endPanicked()
}

func (r *Runner) endPanicked() {
	r.outcome.Panicked = true
	r.end(session.Starting, reason{code: session.InternalError})
}

// guard runs what is not the loop and sends a panic to it. One that comes after
// the loop has no term left to end.
func (r *Runner) guard(do func()) {
	defer func() {
		value := recover()
		if value == nil {
			return
		}
		p := panicked{value, debug.Stack()}
		if !r.post(p) {
			r.countPanic(p)
		}
	}()
	do()
}

// onAsked takes over what the user wants now.
func (r *Runner) onAsked(c store.Change) {
	if c.Epoch != r.term.Epoch {
		return
	}
	if c.Wanted.Generation > r.wanted.Generation {
		r.wanted, r.config = c.Wanted, c.Config
		r.obey()
	}
	if c.Request != nil && r.phase != ended {
		r.onCodeRequest(*c.Request)
	}
}

// obey does what the user wants of a session that runs. Whatever else a request
// says, a device that is to be unlinked comes first.
func (r *Runner) obey() {
	switch {
	case r.mustUnlink():
		r.unlink()
	case r.wanted.Deleted:
		r.erase()
	case r.wanted.Desired == session.DesiredStopped:
		r.end(session.Stopped, reason{})
	case needsFreshTerm(r.opened, r.config):
		r.handOver(Reconfigure)
	default:
		r.restart()
	}
}

// needsFreshTerm: the device store and the proxy are opened with the term. What
// is encrypted may hold a proxy's password.
func needsFreshTerm(old, now session.Stored) bool {
	return old.Config.Store != now.Config.Store || !sameProxy(old.Config.Proxy, now.Config.Proxy) || !bytes.Equal(old.Secrets, now.Secrets)
}

func sameProxy(a, b *session.Proxy) bool {
	if a == nil || b == nil {
		return a == b
	}
	return *a == *b
}

// restart connects anew, as the first time.
func (r *Runner) restart() {
	r.level.Set(telemetry.Level(r.config.Config.Log.Level))
	r.attempts, r.refusals, r.refreshed, r.pairing.sets = nil, 0, false, 0
	r.link.close()
	r.endGrace()
	if r.move(pausing, reason{}) {
		r.dial()
	}
}

// onDeadline ends a phase that took too long.
func (r *Runner) onDeadline() {
	switch r.phase {
	case pausing:
		r.dial()
	case dialing, loggingIn:
		r.lost(reason{code: session.ConnectTimeout})
	case scanning:
		r.fail(session.QRExpired, "")
	case linking:
		r.onReconnectNeeded()
	}
}

// isOver reports whether a write failed because the term has ended.
func isOver(err error) bool {
	return errors.Is(err, session.ErrFenced) || errors.Is(err, session.ErrLeaseLost)
}

func closedChannel() chan struct{} {
	c := make(chan struct{})
	close(c)
	return c
}
