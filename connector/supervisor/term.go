package supervisor

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime/debug"
	"sync"
	"time"

	"github.com/wafleet/wafleet/connector/runner"
	"github.com/wafleet/wafleet/shared/backoff"
	"github.com/wafleet/wafleet/shared/fault"
	"github.com/wafleet/wafleet/shared/session"
	"github.com/wafleet/wafleet/shared/store"
	"github.com/wafleet/wafleet/shared/telemetry"
)

// term is one claimed session, from the claim to the release.
type term struct {
	claim store.Claim
	began time.Time
	ctx   context.Context         // the authority of this term
	lose  context.CancelCauseFunc // ends it
	gone  chan struct{}           // closed when the session is given back

	mu       sync.Mutex
	runner   *runner.Runner // guarded by mu; nil while the device store opens
	released bool           // guarded by mu; asked for before there was a runner
}

// cancel ends the authority of the term and reports whether it had one.
func (t *term) cancel(cause error) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.ctx.Err() != nil {
		return false
	}
	t.lose(cause)
	return true
}

// tell passes a change on. One that comes before the runner exists is seen
// again: rows keep it until it is acknowledged.
func (t *term) tell(c store.Change) {
	if r := t.running(); r != nil {
		r.Tell(c)
	}
}

// running is nil while the device store opens.
func (t *term) running() *runner.Runner {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.runner
}

func (t *term) release() {
	t.mu.Lock()
	r := t.runner
	t.released = true
	t.mu.Unlock()
	if r != nil {
		r.Release()
	}
}

// storePause is before a device store that was not available is tried again.
const storePause = 2 * time.Second

// erasePause is before the store of a deleted session is tried again that cannot
// be opened here.
const erasePause = time.Minute

// run sets the runner and reports whether a release is wished for already.
func (t *term) run(r *runner.Runner) (released bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.runner = r
	return t.released
}

// begin starts a term in the background. Where the last term of the session is
// still being closed here, it waits: the session is ours again, but its socket
// and its device store are open.
func (s *Supervisor) begin(authority context.Context, c store.Claim) {
	ctx, lose := context.WithCancelCause(authority)
	t := &term{claim: c, began: time.Now(), ctx: ctx, lose: lose, gone: make(chan struct{})}
	s.mu.Lock()
	before := s.held[c.ID]
	s.held[c.ID] = t
	if len(s.held) >= s.config.Slots {
		s.full()
	}
	s.mu.Unlock()
	s.opening.Add(1)
	s.terms.Go(func() {
		if before != nil {
			<-before.gone
		}
		level := new(slog.LevelVar)
		owners := s.ownersLog(c)
		owners.Info("session claimed", "reason", claimReason(c), "linked", c.JID != "", "from", string(c.From)) // not the name: people name sessions after numbers
		outcome := s.runTerm(ctx, t, s.logFor(c, level), level)
		s.giveBack(ctx, t, outcome, owners)
		lose(context.Canceled)
		s.forget(t)
		close(t.gone)
		poke(s.claimSoon) // a slot is free
	})
}

// claimReason is why a session was there to be claimed, for the log.
func claimReason(c store.Claim) string {
	if c.From != "" {
		return "HOLDER_DIED"
	}
	return "START_JOB"
}

func (s *Supervisor) forget(t *term) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.held[t.claim.ID] == t { // it may be held anew
		delete(s.held, t.claim.ID)
	}
	if len(s.held) < s.config.Slots && s.room.Err() != nil {
		s.room, s.full = context.WithCancel(context.Background())
	}
}

// runTerm opens the device store and runs the runner. A panic of ours ends this
// session only.
func (s *Supervisor) runTerm(ctx context.Context, t *term, log *slog.Logger, level *slog.LevelVar) (outcome runner.Outcome) {
	last := store.Report{Term: store.Term{ID: t.claim.ID, Epoch: t.claim.Epoch}, Seen: t.claim.Wanted.Generation}
	defer func() {
		if value := recover(); value != nil {
			log.Error("a panic ended the term", "panic", telemetry.Redact(fmt.Sprint(value)), "stack", string(debug.Stack()))
			last.State = session.Starting
			outcome = runner.Outcome{Report: last, Panicked: true}
		}
	}()
	opened := sync.OnceFunc(func() { s.opening.Add(-1) })
	defer opened()
	device, err := s.open(ctx, t.claim, s.fenceOf(ctx), log)
	opened()
	if err != nil {
		if ctx.Err() != nil {
			return runner.Outcome{Fenced: context.Cause(ctx)}
		}
		log.Error("the device store could not be opened", "error", err.Error())
		code := session.StoreError
		if errors.Is(err, runner.ErrSecrets) {
			code = session.SecretsUnreadable
		}
		reason := session.NewReason(code, time.Time{}, "") // the error may name paths
		last.State, last.Code, last.Message = session.Failed, reason.Code, reason.Message
		switch {
		case errors.Is(err, session.ErrUnavailable):
			last.State, last.RetryIn = session.Starting, backoff.Jitter(storePause)
		case t.claim.Wanted.Deleted: // nobody will ask again
			last.State, last.RetryIn = session.Starting, backoff.Jitter(erasePause)
		}
		return runner.Outcome{Report: last}
	}
	r := runner.New(s.deps, runner.Term{Claim: t.claim, Device: device, Log: log, Level: level})
	if t.run(r) {
		r.Release()
	} else {
		poke(s.changesSoon) // what was asked while the store opened
	}
	return r.Run(ctx)
}

// fenceOf says whether a term goes on, also in a process that was frozen and
// has not noticed yet.
func (s *Supervisor) fenceOf(ctx context.Context) func() error {
	return func() error {
		if err := s.trust.Err(); err != nil {
			return err
		}
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		return nil
	}
}

// giveBack releases a session unless it is somebody else's already. Where it
// panics, the session is found as a stray.
func (s *Supervisor) giveBack(ctx context.Context, t *term, outcome runner.Outcome, log *slog.Logger) {
	defer func() {
		if value := recover(); value != nil {
			s.deps.Observer.Panic()
			log.Error("a panic kept the session from being released", "panic", telemetry.Redact(fmt.Sprint(value)), "stack", string(debug.Stack()))
		}
	}()
	if outcome.Fenced != nil {
		log.Warn("term ended by the fleet", "reason", fmt.Sprint(outcome.Fenced))
		return
	}
	if outcome.Erased && s.erase(ctx, t, log) {
		return
	}
	report := t.judge(outcome)
	err := s.reporter.Release(ctx, report)
	switch {
	case err == nil:
		s.observer.Released(report.Code)
		if outcome.Handover != "" {
			s.observer.HandedOver(string(outcome.Handover))
		}
		log.Info("session released", "state", string(report.State), "reason", string(report.Code), "handover", string(outcome.Handover))
	case errors.Is(err, session.ErrFenced):
		log.Warn("the session was taken over before it could be released", "reason", string(report.Code))
	default:
		log.Warn("the session could not be released; it is found as an orphan", "error", err.Error())
	}
}

// erase removes the rows of a session of which nothing else is left, and reports
// whether the term is over. Where it is not, the next holder does it.
func (s *Supervisor) erase(ctx context.Context, t *term, log *slog.Logger) bool {
	ctx, cancel := context.WithTimeout(ctx, queryTimeout)
	defer cancel()
	err := s.store.EraseIfEpoch(ctx, s.me, store.Term{ID: t.claim.ID, Epoch: t.claim.Epoch})
	switch {
	case err == nil:
		log.Info("session erased", "reason", "DELETED")
	case errors.Is(err, session.ErrFenced):
		log.Warn("the session was taken over before it could be erased")
	default:
		log.Warn("the rows of a deleted session could not be removed; trying again", "error", err.Error())
		return false
	}
	return true
}

// judge completes the last report of a term. One that went well for long has
// nothing to do with the faults before it.
func (t *term) judge(outcome runner.Outcome) store.Report {
	if !outcome.Panicked {
		outcome.Report.Faults = store.NoFaults
		return outcome.Report
	}
	before := t.claim.Faults
	if time.Since(t.began) > store.FaultMemory {
		before = 0
	}
	return fault.Judge(outcome.Report, before)
}
