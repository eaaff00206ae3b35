// Package report writes what runners say back to the database: the newest
// state of each session and never its history, in batches that form by
// themselves, because whatever comes while one statement is under way goes into
// the next. An idle session costs nothing.
//
// A write that the database refuses because the session's epoch moved on is
// told to the owner of the term. A write that fails is tried again until the
// authority of the process ends. One that the database refuses for what is in it
// is found by halving its batch, so that it holds up nobody else's.
package report

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"github.com/wafleet/wafleet/shared/backoff"
	"github.com/wafleet/wafleet/shared/session"
	"github.com/wafleet/wafleet/shared/store"
)

// Store is what a Reporter writes to.
type Store interface {
	SetStateIfEpoch(ctx context.Context, me session.ConnectorID, reports []store.Report) ([]session.ID, error)
	ReleaseIfEpoch(ctx context.Context, me session.ConnectorID, reports []store.Report) ([]session.ID, error)
}

// maxBatch bounds one statement.
const maxBatch = 500

// writeTimeout bounds one attempt.
const writeTimeout = 5 * time.Second

var retry = backoff.Policy{Base: 200 * time.Millisecond, Max: 2 * time.Second}

// Reporter collects and writes. Make one with New and keep Run going.
type Reporter struct {
	store  Store
	me     session.ConnectorID
	log    *slog.Logger
	fenced func(store.Term)
	wake   chan struct{} // one slot: a wake-up, never data

	mu       sync.Mutex
	states   map[session.ID]store.Report // guarded by mu
	releases map[session.ID]release      // guarded by mu
}

type release struct {
	report store.Report
	done   chan error // one slot
}

// New returns a Reporter for one connector. fenced is called, outside any lock,
// for each term that turned out to be over.
func New(s Store, me session.ConnectorID, log *slog.Logger, fenced func(store.Term)) *Reporter {
	return &Reporter{
		store: s, me: me, log: log, fenced: fenced, wake: make(chan struct{}, 1),
		states: map[session.ID]store.Report{}, releases: map[session.ID]release{},
	}
}

// Put takes the newest state of a session, in place of one not yet written. It
// does not wait.
func (r *Reporter) Put(report store.Report) {
	r.mu.Lock()
	if !r.leaving(report.Term) {
		r.states[report.ID] = report
	}
	r.mu.Unlock()
	r.poke()
}

// leaving reports whether a term gives its session back: nothing follows that.
// The caller holds mu.
func (r *Reporter) leaving(t store.Term) bool {
	leaving, ok := r.releases[t.ID]
	return ok && leaving.report.Epoch >= t.Epoch
}

// Release gives a session back with its last state and returns when that is
// written. Errors: session.ErrFenced where the term was over already, or the
// cause of ctx's end; the release is still tried then.
func (r *Reporter) Release(ctx context.Context, report store.Report) error {
	leaving := release{report, make(chan error, 1)}
	r.mu.Lock()
	delete(r.states, report.ID)
	if older, ok := r.releases[report.ID]; ok {
		older.done <- session.ErrFenced // there is a later term, so it was over
	}
	r.releases[report.ID] = leaving
	r.mu.Unlock()
	r.poke()
	select {
	case err := <-leaving.done:
		return err
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

func (r *Reporter) poke() {
	select {
	case r.wake <- struct{}{}:
	default:
	}
}

// Run writes until ctx ends.
func (r *Reporter) Run(ctx context.Context) error {
	failures := 0
	var pause <-chan time.Time // set while the database is in trouble
	for {
		wake := r.wake
		if pause != nil {
			wake = nil
		}
		select {
		case <-ctx.Done():
			return nil
		case <-wake:
		case <-pause:
			pause = nil
		}
		if err := r.flush(ctx); err != nil && ctx.Err() == nil {
			failures++
			r.log.Warn("states could not be written; trying again", "attempt", failures, "error", err.Error())
			pause = time.After(retry.Pause(failures))
			continue
		}
		failures = 0
	}
}

// flush writes everything that waits, and puts back what it could not write
// and nobody replaced meanwhile.
func (r *Reporter) flush(ctx context.Context) error {
	for {
		states := r.takeStates()
		releases := r.takeReleases()
		if len(states)+len(releases) == 0 {
			return nil
		}
		err := r.writeStates(ctx, states)
		if err != nil && !mendless(err) {
			r.putBackReleases(releases)
			return err
		}
		if err := errors.Join(err, r.writeReleases(ctx, releases)); err != nil {
			return err
		}
	}
}

func (r *Reporter) takeStates() []store.Report {
	r.mu.Lock()
	defer r.mu.Unlock()
	var batch []store.Report
	for id, report := range r.states {
		if len(batch) == maxBatch {
			break
		}
		delete(r.states, id)
		batch = append(batch, report)
	}
	return batch
}

func (r *Reporter) takeReleases() []release {
	r.mu.Lock()
	defer r.mu.Unlock()
	var batch []release
	for id, leaving := range r.releases {
		if len(batch) == maxBatch {
			break
		}
		delete(r.releases, id)
		batch = append(batch, leaving)
	}
	return batch
}

// mendless reports whether a batch was refused for what is in it.
func mendless(err error) bool {
	return err != nil && !errors.Is(err, session.ErrUnavailable) &&
		!errors.Is(err, context.DeadlineExceeded) && !errors.Is(err, context.Canceled)
}

func (r *Reporter) writeStates(ctx context.Context, batch []store.Report) error {
	if len(batch) == 0 {
		return nil
	}
	attempt, cancel := context.WithTimeout(ctx, writeTimeout)
	defer cancel()
	fenced, err := r.store.SetStateIfEpoch(attempt, r.me, batch)
	if half := len(batch) / 2; half > 0 && mendless(err) {
		return errors.Join(r.writeStates(ctx, batch[:half]), r.writeStates(ctx, batch[half:]))
	}
	if err != nil {
		r.putBackStates(batch)
		return err
	}
	terms := termsOf(batch)
	for _, id := range fenced {
		r.fenced(terms[id])
	}
	return nil
}

// putBackStates keeps what nothing newer has replaced.
func (r *Reporter) putBackStates(batch []store.Report) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, report := range batch {
		if _, newer := r.states[report.ID]; !newer && !r.leaving(report.Term) {
			r.states[report.ID] = report
		}
	}
}

func termsOf(batch []store.Report) map[session.ID]store.Term {
	terms := make(map[session.ID]store.Term, len(batch))
	for _, report := range batch {
		terms[report.ID] = report.Term
	}
	return terms
}

func (r *Reporter) writeReleases(ctx context.Context, batch []release) error {
	if len(batch) == 0 {
		return nil
	}
	reports := make([]store.Report, len(batch))
	for i, leaving := range batch {
		reports[i] = leaving.report
	}
	attempt, cancel := context.WithTimeout(ctx, writeTimeout)
	defer cancel()
	fenced, err := r.store.ReleaseIfEpoch(attempt, r.me, reports)
	if half := len(batch) / 2; half > 0 && mendless(err) {
		return errors.Join(r.writeReleases(ctx, batch[:half]), r.writeReleases(ctx, batch[half:]))
	}
	if err != nil {
		r.putBackReleases(batch)
		return err
	}
	lost := make(map[session.ID]bool, len(fenced))
	for _, id := range fenced {
		lost[id] = true
	}
	for _, leaving := range batch {
		if lost[leaving.report.ID] {
			leaving.done <- session.ErrFenced
		} else {
			leaving.done <- nil
		}
	}
	return nil
}

// putBackReleases keeps what no later term has replaced.
func (r *Reporter) putBackReleases(batch []release) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, leaving := range batch {
		if _, newer := r.releases[leaving.report.ID]; newer {
			leaving.done <- session.ErrFenced
			continue
		}
		r.releases[leaving.report.ID] = leaving
	}
}
