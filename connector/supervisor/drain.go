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
	s.tellDraining(ctx)
	terms := s.inDrainOrder()
	pace := rate.NewLimiter(rate.Inf, s.config.Connects)
	by := time.Now().Add(s.config.DrainTimeout * 2 / 3)
	others := s.keepPace(ctx, pace, len(terms), by)
	s.log.Info("draining", "sessions", len(terms), "others", others)
	handed := make(chan struct{})
	go func() {
		defer close(handed)
		s.handOver(ctx, terms, pace)
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
			s.keepPace(ctx, pace, s.Held(), by) // connectors come, and others begin to leave
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

// tellDraining keeps the others from counting on this connector.
func (s *Supervisor) tellDraining(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, queryTimeout)
	defer cancel()
	if err := s.store.SetDraining(ctx, s.me); err != nil {
		s.log.Warn("the fleet could not be told of the drain", "error", err.Error())
	}
}

// keepPace sets the pace at which sessions are handed over, by what the others
// hold now, and returns how many take sessions on. All are to be gone by a moment
// that leaves a third of the time for whatever goes wrong. Where the others cannot
// be asked, the pace stays as it is.
func (s *Supervisor) keepPace(ctx context.Context, pace *rate.Limiter, sessions int, by time.Time) (takers int) {
	ctx, cancel := context.WithTimeout(ctx, queryTimeout)
	defer cancel()
	loads, err := s.store.Loads(ctx)
	if err != nil {
		s.log.Warn("the connectors that take over are not known", "error", err.Error())
		return 0
	}
	leaving := 1
	others := slices.DeleteFunc(loads, func(l store.Load) bool {
		if l.Draining && l.ID != s.me {
			leaving++
		}
		return l.Draining || l.ID == s.me
	})
	pace.SetLimit(s.drainPace(sessions, others, leaving, time.Until(by)))
	return len(others)
}

// drainPace is as fast as the others take sessions on and connect, in sessions
// per second, so that none waits with its old connection closed for its turn at
// the new one. Connectors that leave together share that pace. Where nobody has
// room there is nothing to wait for, nor where no time is left.
func (s *Supervisor) drainPace(sessions int, others []store.Load, leaving int, left time.Duration) rate.Limit {
	most := takenBy(sessions, others)
	if most <= 0 || left <= 0 {
		return rate.Inf
	}
	whole := float64(leaving*most) / float64(s.config.Connects) // seconds that the busiest of them connects
	return rate.Limit(float64(sessions) / min(whole, left.Seconds()))
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
