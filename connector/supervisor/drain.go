package supervisor

import (
	"context"
	"slices"
	"sync"
	"time"

	"golang.org/x/time/rate"
)

// drain hands every session back: nothing is claimed any more, and each is
// disconnected and released for another connector to continue. What users ask
// for is still passed on, because a large drain takes its time.
func (s *Supervisor) drain(authority context.Context) error {
	ctx, cancel := context.WithTimeout(authority, s.config.DrainTimeout)
	defer cancel()
	others := s.tellDraining(ctx)
	terms := s.inDrainOrder()
	s.log.Info("draining", "sessions", len(terms), "connectors_with_room", others)
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

// tellDraining keeps the others from counting on this connector, and returns how
// many of them have room.
func (s *Supervisor) tellDraining(ctx context.Context) (others int) {
	ctx, cancel := context.WithTimeout(ctx, queryTimeout)
	defer cancel()
	others, err := s.store.SetDraining(ctx, s.me)
	if err != nil {
		s.log.Warn("the fleet could not be told of the drain", "error", err.Error())
	}
	return others
}

// drainPace is as fast as the others connect, so that no session waits with its
// old connection closed for its turn at the new one. It leaves a third of the
// time for whatever goes wrong. Where nobody takes over there is nothing to
// wait for.
func (s *Supervisor) drainPace(sessions, others int) *rate.Limiter {
	if others == 0 {
		return rate.NewLimiter(rate.Inf, 0)
	}
	together := s.config.Connects * others
	atLeast := float64(sessions) / (s.config.DrainTimeout.Seconds() * 2 / 3)
	return rate.NewLimiter(rate.Limit(max(float64(together), atLeast)), together)
}

// inDrainOrder puts sessions that a user is linking last: each moment more may
// be the one in which the phone scans.
func (s *Supervisor) inDrainOrder() []*term {
	terms := s.snapshot()
	slices.SortStableFunc(terms, func(a, b *term) int { return rank(a) - rank(b) })
	return terms
}

func rank(t *term) int {
	if t.pairing() {
		return 1
	}
	return 0
}
