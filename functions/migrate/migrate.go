package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/wafleet/wafleet/shared/backoff"
	"github.com/wafleet/wafleet/shared/schema"
	"github.com/wafleet/wafleet/shared/session"
	"github.com/wafleet/wafleet/shared/settings"
	"github.com/wafleet/wafleet/shared/store"
)

// migrate returns the version of the schema.
func migrate(ctx context.Context, c config, log *slog.Logger) (version int64, err error) {
	owner := ""
	if c.AppUser != "" {
		if owner, err = schema.Admit(ctx, c.Database.Open, c.AppUser); err != nil {
			return 0, err
		}
		log.Info("the programs have their role", "role", c.AppUser, "owner", owner)
	}
	return schema.Up(ctx, c.Database.Open, owner, log)
}

// migrator is migrate under Lambda.
type migrator struct {
	config config
	log    *slog.Logger
	work   func(context.Context) (version int64, err error)
}

// newMigrator serves with a wrong environment too: a stack would wait an hour for
// the answer of a program that does not start.
func newMigrator(c config, wrong error, log *slog.Logger) migrator {
	m := migrator{config: c, log: log}
	m.work = func(ctx context.Context) (int64, error) {
		if wrong != nil {
			return 0, fmt.Errorf("%w: %w", settings.ErrEnvironment, wrong)
		}
		if err := m.awaitDatabase(ctx); err != nil {
			return 0, err
		}
		return migrate(ctx, c, log)
	}
	return m
}

const (
	// reserve is what is left of the function's time for the answer.
	reserve = 10 * time.Second
	// wakePatience is how long a database may take that has just been made, or that
	// sleeps while nobody is connected. A new secret may take as long.
	wakePatience = time.Minute
)

var wakePause = backoff.Policy{Base: time.Second, Max: 5 * time.Second}

var errTimeout = errors.New("the migration did not end in time; what it has begun is undone, and the next try goes on where it was")

// migrate answers in time also where the database does not: reading from one that
// has gone silent ends by itself much later, and this process with it.
func (m migrator) migrate(ctx context.Context) (int64, error) {
	budget, kept := max(m.config.Timeout, time.Second), reserve
	if end, ok := ctx.Deadline(); ok {
		left := time.Until(end)
		kept = min(reserve, left/4)
		budget = min(budget, left-kept)
	}
	ctx, cancel := context.WithTimeout(ctx, budget)
	defer cancel()
	type result struct {
		version int64
		err     error
	}
	done := make(chan result, 1)
	go func() {
		version, err := m.work(ctx)
		done <- result{version, err}
	}()
	select {
	case r := <-done:
		if r.err != nil && ctx.Err() != nil {
			return 0, fmt.Errorf("%w: %w", errTimeout, r.err)
		}
		return r.version, r.err
	case <-ctx.Done():
	}
	// What listens to the context has a moment to say why.
	timer := time.NewTimer(kept / 4)
	defer timer.Stop()
	select {
	case r := <-done:
		if r.err == nil {
			return r.version, nil
		}
		return 0, fmt.Errorf("%w: %w", errTimeout, r.err)
	case <-timer.C:
		return 0, errTimeout
	}
}

// awaitDatabase tries until the database answers.
func (m migrator) awaitDatabase(ctx context.Context) error {
	opened, err := m.config.Database.Open(store.Options{MaxOpen: 1, ApplicationName: "wafleet-migrate"})
	if err != nil {
		return err
	}
	defer opened.Close()
	patience, cancel := context.WithTimeout(ctx, wakePatience)
	defer cancel()
	for failures := 1; ; failures++ {
		err := opened.Ping(patience)
		if err == nil || !errors.Is(err, session.ErrUnavailable) || patience.Err() != nil {
			return err
		}
		m.log.Warn("not ready yet; trying again", "attempt", failures, "error", err.Error())
		timer := time.NewTimer(wakePause.Pause(failures))
		select {
		case <-timer.C:
		case <-patience.Done():
			timer.Stop()
			return err
		}
	}
}
