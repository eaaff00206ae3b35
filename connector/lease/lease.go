// Package lease keeps a connector's right to act, and takes it away in time.
//
// A connector has one lease, renewed by heartbeat; every session it holds is
// held through it. The lease itself lives in the database and is measured by
// the database's clock. What the process may believe is measured by its own
// monotonic clock, and always ends earlier:
//
//	beat sent ──────────── trust ends (10 s) ─── closed ─── lease passes (15 s)
//	 └ the moment that counts: trust starts when the beat was sent, not when
//	   its answer came, so a slow answer cannot stretch it
//
// When trust ends, the authority context is cancelled with the cause
// [session.ErrLeaseLost], and [Trust.Err] says so from that nanosecond on, also
// in a process that was frozen and has not run a timer yet. It never comes
// back: whoever wants to go on registers under a new id.
package lease

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/wafleet/wafleet/shared/backoff"
	"github.com/wafleet/wafleet/shared/session"
	"github.com/wafleet/wafleet/shared/store"
)

// Store is what the lease needs of the database.
type Store interface {
	Register(ctx context.Context, c store.Connector, ttl time.Duration) error
	RenewHeld(ctx context.Context, id session.ConnectorID, ttl time.Duration) error
	EndLease(ctx context.Context, id session.ConnectorID) error
}

// Config is the timing. Trust plus the time to close sockets must be shorter
// than TTL.
type Config struct {
	TTL   time.Duration // default 15 s
	Beat  time.Duration // default 4 s
	Trust time.Duration // default 10 s
}

// WithDefaults fills zero fields and checks the rest against each other.
func (c Config) WithDefaults() (Config, error) {
	if c.TTL == 0 {
		c.TTL = 15 * time.Second
	}
	if c.Beat == 0 {
		c.Beat = c.TTL * 4 / 15
	}
	if c.Trust == 0 {
		c.Trust = c.TTL * 2 / 3
	}
	if c.Beat*2 > c.Trust || c.Trust >= c.TTL {
		return c, fmt.Errorf("the lease's times do not fit: two beats (%v) must fit into the trust (%v), and that into the lease (%v)", c.Beat, c.Trust, c.TTL)
	}
	return c, nil
}

// Trust is how long the process may act. It is safe for concurrent use and
// cheap enough for every write to a socket.
type Trust struct {
	born  time.Time     // holds the monotonic clock
	span  time.Duration // from a beat to the end
	until atomic.Int64  // nanoseconds after born; the end once ended is set
	ended atomic.Bool
}

// NewTrust returns a trust that starts now and lasts for d.
func NewTrust(d time.Duration) *Trust {
	return trustFrom(time.Now(), d)
}

func trustFrom(sent time.Time, d time.Duration) *Trust {
	t := &Trust{born: sent, span: d}
	t.until.Store(int64(d))
	return t
}

// Err returns nil while the process may act, and session.ErrLeaseLost after.
func (t *Trust) Err() error {
	if t.ended.Load() || time.Since(t.born) >= time.Duration(t.until.Load()) {
		return session.ErrLeaseLost
	}
	return nil
}

// Left is how long the trust lasts if nothing renews it.
func (t *Trust) Left() time.Duration {
	return time.Duration(t.until.Load()) - time.Since(t.born)
}

// BeatAge is how long ago the last beat that succeeded was sent.
func (t *Trust) BeatAge() time.Duration { return t.span - t.Left() }

func (t *Trust) lastBeat() time.Time { return time.Now().Add(-t.BeatAge()) }

// renew lets trust last for its span from the given moment, unless it has ended.
func (t *Trust) renew(from time.Time) bool {
	if t.Err() != nil {
		t.ended.Store(true) // a late answer must not revive it
		return false
	}
	t.until.Store(int64(from.Sub(t.born) + t.span))
	return true
}

// Hold registers the connector, keeps its lease while work runs, and ends the
// lease when work has returned. work's context is the authority: it ends with
// the cause session.ErrLeaseLost when trust does, or with ctx.
//
// It returns session.ErrLeaseLost where the lease was lost, else work's error.
func Hold(ctx context.Context, s Store, me store.Connector, config Config, log *slog.Logger, work func(ctx context.Context, trust *Trust) error) error {
	sent := time.Now()
	if err := s.Register(ctx, me, config.TTL); err != nil {
		return err
	}
	trust := trustFrom(sent, config.Trust)

	authority, lose := context.WithCancelCause(ctx)
	defer lose(context.Canceled)
	beating, stopBeating := context.WithCancel(ctx)
	beats := make(chan struct{})
	go func() {
		defer close(beats)
		keep(beating, s, me.ID, config, trust, log, lose)
	}()
	err := work(authority, trust)
	stopBeating()
	<-beats
	if cause := context.Cause(authority); errors.Is(cause, session.ErrLeaseLost) {
		return cause
	}
	goodbye, cancel := context.WithTimeout(context.WithoutCancel(ctx), config.Beat)
	defer cancel()
	if endErr := s.EndLease(goodbye, me.ID); endErr != nil {
		log.Warn("the lease could not be ended; it passes by itself", "error", endErr.Error())
	}
	return err
}

// keep beats until ctx ends or the lease is lost. A beat runs beside it: one
// that hangs must not keep it from seeing the end of trust. keep returns when
// its last beat has, which the store bounds.
func keep(ctx context.Context, s Store, id session.ConnectorID, config Config, trust *Trust, log *slog.Logger, lose context.CancelCauseFunc) {
	end := time.NewTimer(trust.Left())
	defer end.Stop()
	next := time.NewTimer(untilBeat(config, trust.lastBeat()))
	defer next.Stop()
	results := make(chan beat, 1)
	var beats sync.WaitGroup
	defer beats.Wait()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	for {
		select {
		case <-ctx.Done():
			return
		case <-end.C:
			if trust.Err() == nil { // renewed after the timer fired
				end.Reset(trust.Left())
				continue
			}
			log.Error("the lease could not be renewed in time; every session is given up")
			lose(session.ErrLeaseLost)
			return
		case <-next.C:
			beats.Go(func() {
				attempt, cancel := context.WithTimeout(ctx, max(trust.Left(), 0))
				defer cancel()
				sent := time.Now()
				results <- beat{sent, s.RenewHeld(attempt, id, config.TTL)}
			})
		case b := <-results:
			switch {
			case errors.Is(b.err, session.ErrLeaseLost):
				trust.ended.Store(true)
				log.Error("the lease has passed; every session is given up")
				lose(session.ErrLeaseLost)
				return
			case b.err != nil:
				log.Warn("the lease was not renewed", "trust_left", trust.Left().Round(time.Millisecond).String(), "error", b.err.Error())
				next.Reset(backoff.Jitter(config.Beat / retriesPerBeat))
			default:
				if trust.renew(b.sent) {
					end.Reset(trust.Left())
				}
				next.Reset(untilBeat(config, b.sent))
			}
		}
	}
}

// retriesPerBeat makes the pause after a beat that failed so short that a
// database which was away for five seconds costs nothing: in the worst case a
// beat is sent into the start of that, 4 s after the last good one, and given up
// after five, which leaves a second of the trust for the next.
const retriesPerBeat = 16

// untilBeat is the pause before the next beat, counted from when the last one
// was sent, as trust is: where every answer is slow, beats must not be rarer. It
// is spread below a beat, never above, which would be at the cost of trust.
func untilBeat(config Config, sent time.Time) time.Duration {
	return max(config.Beat/100, backoff.Jitter(config.Beat*10/11)-time.Since(sent))
}

// beat is one heartbeat's result.
type beat struct {
	sent time.Time
	err  error
}
