package supervisor

import (
	"context"
	"slices"
	"time"

	"github.com/wafleet/wafleet/shared/session"
)

// A hint of the database wakes every connector, and each claims what it may. One
// of a queue comes to a single connector, which can take the session or let the
// hint go on to another. So whoever reads a queue asks first whether there is
// room, and hears afterwards which sessions still wait. The loop of Run stays
// the only place that claims.

// named asks Run's loop to claim certain sessions.
type named struct {
	ids    []session.ID
	answer chan<- waiting // of one slot: the loop does not wait for who asks
}

// waiting are sessions that somebody else could claim.
type waiting struct {
	ids []session.ID
	err error
}

// AwaitRoom waits until sessions can be claimed and connected at once. It
// returns how many, and a context that ends when the last free slot is taken;
// or ctx's error.
func (s *Supervisor) AwaitRoom(ctx context.Context) (n int, room context.Context, err error) {
	for {
		s.mu.Lock()
		held, room := len(s.held), s.room
		s.mu.Unlock()
		if n := min(s.config.Slots-held, s.soon(held)); n > 0 && ctx.Err() == nil {
			return n, room, nil
		}
		timer := time.NewTimer(claimAgain)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return 0, nil, context.Cause(ctx)
		}
	}
}

// ClaimNamed claims those of the sessions that wait for a connector and that
// this one may take. It returns those that still wait: for one with room, or
// with less than its fair share. Any other id is nobody's business any more, a
// session that is stopped, held or unknown. It takes Run to be running until ctx
// ends.
func (s *Supervisor) ClaimNamed(ctx context.Context, ids []session.ID) ([]session.ID, error) {
	answer := make(chan waiting, 1)
	select {
	case s.named <- named{ids, answer}:
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
	select {
	case w := <-answer:
		return w.ids, w.err
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}

func (s *Supervisor) claimNamed(authority context.Context, ids []session.ID) waiting {
	left := slices.DeleteFunc(slices.Clone(ids), func(id session.ID) bool { return s.term(id) != nil })
	if len(left) < len(ids) {
		poke(s.changesSoon) // whatever it was about
	}
	if len(left) == 0 {
		return waiting{}
	}
	ctx, cancel := context.WithTimeout(authority, queryTimeout)
	defer cancel()
	held := s.Held()
	if soon := s.soon(held); held < s.config.Slots && soon > 0 {
		claims, err := s.store.ClaimNamedIfFree(ctx, s.me, left, s.config.Slots-held, s.balance.share(held), soon)
		if err != nil {
			s.complain(authority, "named sessions could not be claimed", err)
			return waiting{err: err}
		}
		s.beginAll(authority, byQueue, claims)
		for _, c := range claims {
			left = slices.DeleteFunc(left, func(id session.ID) bool { return id == c.ID })
		}
	}
	if len(left) == 0 {
		return waiting{}
	}
	still, err := s.store.UnclaimedOf(ctx, left)
	if err != nil {
		s.complain(authority, "named sessions could not be looked for", err)
	}
	return waiting{still, err}
}
