package main

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"github.com/wafleet/wafleet/shared/backoff"
	"github.com/wafleet/wafleet/shared/fault"
	"github.com/wafleet/wafleet/shared/session"
	"github.com/wafleet/wafleet/shared/store"
	"github.com/wafleet/wafleet/shared/telemetry"
)

const (
	// buryTimeout bounds what is tried for a dead child: a lease of production's
	// length has passed by itself then.
	buryTimeout = 15 * time.Second
	// answerTimeout bounds one try.
	answerTimeout = 3 * time.Second
)

var buryPause = backoff.Policy{Base: 200 * time.Millisecond, Max: 2 * time.Second}

// bury does for a dead child what it cannot do any more.
func (g guard) bury(d death, held *tenure) {
	log := g.log.With("connector", string(d.connector))
	c := parseCrash(d.report)
	if len(d.report) > 0 {
		log.Error("the connector crashed", "panic", telemetry.Redact(c.head), "session", string(c.session), "stack", c.stack)
	}
	if d.connector == "" {
		return
	}
	s, err := g.open()
	if err != nil {
		log.Error("the lease of the dead connector passes by itself", "error", err.Error())
		return
	}
	defer s.Close()
	ctx, cancel := context.WithTimeout(context.Background(), g.patience)
	defer cancel()
	if c.session != "" {
		blame(ctx, s, d.connector, c.session, log)
	}
	if err := try(ctx, func(ctx context.Context) error { return s.EndLease(ctx, d.connector) }); err != nil {
		log.Error("the lease of the dead connector passes by itself", "error", err.Error())
		return
	}
	g.record(held, "")
	log.Warn("the connector is gone; its lease is ended", "how", how(d.how))
}

func (g guard) open() (*store.Store, error) {
	if g.wrong != nil {
		return nil, g.wrong
	}
	return g.database.Open(store.Options{MaxOpen: 1, Answer: answerTimeout, ApplicationName: "wafleet-guard"})
}

// how is an end in words.
func how(err error) string {
	if err == nil {
		return "exit status 0"
	}
	return err.Error()
}

// blame ends the term of the session whose goroutine crashed.
func blame(ctx context.Context, s *store.Store, dead session.ConnectorID, culprit session.ID, log *slog.Logger) {
	log = log.With("session", string(culprit))
	var written store.Report
	err := try(ctx, func(ctx context.Context) (err error) {
		written, err = s.BlameIfHeld(ctx, dead, culprit, fault.Judge)
		return err
	})
	switch {
	case err == nil:
		log.Error("a session ended its connector", "faults", written.Faults, "state", string(written.State), "reason", string(written.Code))
	case errors.Is(err, session.ErrFenced):
		log.Warn("the session that ended its connector was not held any more")
	default:
		log.Error("the session that ended its connector could not be blamed", "error", err.Error())
	}
}

// try repeats while the database is away.
func try(ctx context.Context, do func(context.Context) error) error {
	for n := 1; ; n++ {
		attempt, cancel := context.WithTimeout(ctx, answerTimeout)
		err := do(attempt)
		cancel()
		if !errors.Is(err, session.ErrUnavailable) {
			return err
		}
		select {
		case <-ctx.Done():
			return err
		case <-time.After(buryPause.Pause(n)):
		}
	}
}
