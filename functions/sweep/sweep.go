package main

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"github.com/wafleet/wafleet/shared/backoff"
	"github.com/wafleet/wafleet/shared/session"
	"github.com/wafleet/wafleet/shared/store"
)

// sweepTimeout bounds one sweep. A function that runs it needs a longer timeout
// than this.
const sweepTimeout = 20 * time.Second

// fleet is what a sweep needs of the database.
type fleet interface {
	EndLeaseOfTask(ctx context.Context, task string) ([]session.ConnectorID, error)
	EnqueueOrphans(ctx context.Context) (store.Orphans, error)
	FleetStatus(ctx context.Context) (store.FleetStatus, error)
	ForgetIdempotency(ctx context.Context, limit int) (n int, err error)
	ForgetAudit(ctx context.Context, olderThan time.Duration, limit int) (n int, err error)
}

// A sweep removes old rows in steps, so that none holds locks for long, and
// leaves the rest to the next one.
const (
	forgetBatch   = 1000
	forgetBatches = 20
)

// sweeper sweeps. It has no state of its own: any number may run at once.
type sweeper struct {
	fleet     fleet
	log       *slog.Logger
	auditKeep time.Duration
}

// summary is what a sweep did and saw.
type summary struct {
	LeasesEnded *int `json:"leasesEnded,omitempty"` // after a death only
	Orphans     int  `json:"orphans"`               // start jobs that this sweep made

	// What was there after that: a store.FleetStatus.
	Wanted           int     `json:"wanted"`
	Held             int     `json:"held"`
	Unplaced         int     `json:"unplaced"`
	OldestJobSeconds float64 `json:"oldestJobSeconds"`
	ConnectorsAlive  int     `json:"connectorsAlive"`
	Slots            int     `json:"slots"`
	SlotsFree        int     `json:"slotsFree"`
	OutdatedShare    float64 `json:"clientOutdatedShare"`
	Failed           int     `json:"failed"`

	Forgotten      int `json:"idempotencyForgotten"` // answers of yesterday that this sweep removed
	AuditForgotten int `json:"auditForgotten"`       // entries of the audit that were too old
}

// sweep gives orphans their start jobs, counts the fleet after that, and forgets
// what is old.
func (s sweeper) sweep(ctx context.Context) (summary, error) {
	ctx, cancel := context.WithTimeout(ctx, sweepTimeout)
	defer cancel()
	orphans, err := s.fleet.EnqueueOrphans(ctx)
	if err != nil {
		return summary{}, fmt.Errorf("sweep: %w", err)
	}
	for _, e := range orphans.Ended {
		s.log.InfoContext(ctx, "term of a dead connector ended", "session", string(e.ID), "epoch", int64(e.Epoch), "reason", "NOT_WANTED", "from", string(e.From))
	}
	status, err := s.fleet.FleetStatus(ctx)
	if err != nil {
		return summary{}, fmt.Errorf("sweep: %w", err)
	}
	return summary{
		Orphans: orphans.Jobs, Forgotten: s.forgetAnswers(ctx), Wanted: status.Wanted, Held: status.Held, Unplaced: status.Unplaced,
		OldestJobSeconds: status.OldestJob.Round(time.Millisecond).Seconds(),
		ConnectorsAlive:  status.Alive, Slots: status.Slots, SlotsFree: status.SlotsFree,
		OutdatedShare: status.OutdatedShare(), Failed: status.Failed, AuditForgotten: s.forgetAudit(ctx),
	}, nil
}

// forgetAnswers removes answers that nobody may ask for again.
func (s sweeper) forgetAnswers(ctx context.Context) int {
	return s.forget(ctx, "old answers", s.fleet.ForgetIdempotency)
}

// forgetAudit removes entries that are too old.
func (s sweeper) forgetAudit(ctx context.Context) int {
	return s.forget(ctx, "old entries of the audit", func(ctx context.Context, limit int) (int, error) {
		return s.fleet.ForgetAudit(ctx, s.auditKeep, limit)
	})
}

// forget returns how many rows are gone. Sessions do not wait for it, so a
// failure is no failure of the sweep.
func (s sweeper) forget(ctx context.Context, what string, step func(ctx context.Context, limit int) (int, error)) (gone int) {
	for range forgetBatches {
		n, err := step(ctx, forgetBatch)
		if err != nil {
			s.log.WarnContext(ctx, what+" were not removed; the next sweep goes on", "error", err.Error())
			return gone
		}
		if gone += n; n < forgetBatch {
			return gone
		}
	}
	return gone
}

// bury ends the lease of a task that is known to be gone, and sweeps. A lease
// that was ended stays ended where the sweep fails; the next one finds what it
// left.
func (s sweeper) bury(ctx context.Context, task string) (summary, error) {
	ctx, cancel := context.WithTimeout(ctx, sweepTimeout)
	defer cancel()
	ended, err := s.fleet.EndLeaseOfTask(ctx, task)
	if err != nil {
		return summary{}, err
	}
	for _, id := range ended {
		s.log.InfoContext(ctx, "lease ended", "connector", string(id), "reason", "TASK_STOPPED", "task", task)
	}
	found, err := s.sweep(ctx)
	n := len(ended)
	found.LeasesEnded = &n
	return found, err
}

// every sweeps until the context ends, with pauses that several loops do not
// share. A sweep that fails is logged, and the next one makes up for it.
func (s sweeper) every(ctx context.Context, pause time.Duration, done func(summary) error) error {
	for {
		found, err := s.sweep(ctx)
		switch {
		case ctx.Err() != nil:
			return nil
		case err != nil:
			s.log.WarnContext(ctx, "the sweep failed; the next one follows", "error", err.Error())
		default:
			if err := done(found); err != nil {
				return err
			}
		}
		if !wait(ctx, backoff.Jitter(pause)) {
			return nil
		}
	}
}

// wait reports whether the time passed before the context ended.
func wait(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return true
	}
}
