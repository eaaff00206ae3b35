package supervisor

import (
	"context"
	"slices"
	"sync"
	"time"

	"golang.org/x/time/rate"

	"github.com/wafleet/wafleet/shared/store"
)

// drain hands every session back: nothing is claimed any more, and each is
// disconnected and released for another connector to continue. What users ask
// for is still passed on, because a large drain takes its time.
func (s *Supervisor) drain(authority context.Context) error {
	ctx, cancel := context.WithTimeout(authority, s.config.DrainTimeout)
	defer cancel()
	others := s.tellDraining(ctx)
	terms := s.inDrainOrder()
	s.log.Info("draining", "sessions", len(terms), "others", len(others))
	handed := make(chan struct{})
	go func() {
		defer close(handed)
		s.handOver(ctx, terms, s.drainPace(len(terms), others))
	}()
	poll := time.NewTicker(s.config.Poll)
	defer poll.Stop()
	for {
		select {
		case <-handed:
			s.log.Info("drained", "sessions", len(terms))
			return nil
		case <-s.changesSoon:
			s.passOnChanges(authority)
		case <-poll.C:
			s.passOnChanges(authority)
		}
	}
}

// handOver releases the terms in order and returns when all are gone. What is
// not gone when ctx ends loses its authority.
func (s *Supervisor) handOver(ctx context.Context, terms []*term, pace *rate.Limiter) {
	slots := make(chan struct{}, s.config.DrainAtOnce)
	var handing sync.WaitGroup
	for _, t := range terms {
		slots <- struct{}{}
		_ = pace.Wait(ctx) // after the end of ctx nothing is paced
		handing.Go(func() {
			defer func() { <-slots }()
			t.release()
			select {
			case <-t.gone:
			case <-ctx.Done():
				t.cancel(context.Cause(ctx))
				<-t.gone
			}
		})
	}
	handing.Wait()
}

// tellDraining keeps the others from counting on this connector, and returns
// how much they hold.
func (s *Supervisor) tellDraining(ctx context.Context) []store.Load {
	ctx, cancel := context.WithTimeout(ctx, queryTimeout)
	defer cancel()
	if err := s.store.SetDraining(ctx, s.me); err != nil {
		s.log.Warn("the fleet could not be told of the drain", "error", err.Error())
	}
	others, err := s.store.Loads(ctx)
	if err != nil {
		s.log.Warn("the connectors that take over are not known", "error", err.Error())
	}
	return others
}

// drainPace is as fast as the others take sessions on and connect, so that none
// waits with its old connection closed for its turn at the new one. It leaves a
// third of the time for whatever goes wrong. Where nobody has room there is
// nothing to wait for.
func (s *Supervisor) drainPace(sessions int, others []store.Load) *rate.Limiter {
	most := takenBy(sessions, others)
	if most == 0 {
		return rate.NewLimiter(rate.Inf, 0)
	}
	whole := float64(most) / float64(s.config.Connects) // seconds that the busiest of them connects
	longest := s.config.DrainTimeout.Seconds() * 2 / 3
	return rate.NewLimiter(rate.Limit(float64(sessions)/min(whole, longest)), s.config.Connects)
}

// takenBy is how many of the sessions one of the others may have to take at
// most, up to its fair share.
func takenBy(sessions int, others []store.Load) (most int) {
	total := sessions
	for _, l := range others {
		total += l.Held
	}
	for _, l := range others {
		share := (total*11 + 10*len(others) - 1) / (10 * len(others)) // as in a claim
		most = max(most, min(sessions, share-l.Held, l.Slots-l.Held))
	}
	return most
}

// inDrainOrder puts sessions that a user is linking last: each moment more may
// be the one in which the phone scans.
func (s *Supervisor) inDrainOrder() []*term {
	terms := s.snapshot()
	slices.SortStableFunc(terms, func(a, b *term) int { return rank(a) - rank(b) })
	return terms
}

func rank(t *term) int {
	if r := t.running(); r != nil && r.Pairing() {
		return 1
	}
	return 0
}
