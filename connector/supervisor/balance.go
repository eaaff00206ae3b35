package supervisor

import (
	"context"
	"math"
	"slices"
	"time"

	"github.com/wafleet/wafleet/shared/session"
	"github.com/wafleet/wafleet/shared/store"
)

// Sessions even out between connectors: one that holds more than the average
// gives some back, one at a time, for those that hold less. Nobody directs it.
// Every connector compares the loads that heartbeats tell and knows its own
// part; the fair share of the claim sees to it that whoever holds less takes
// what is given, and who has enough leaves it to them.

// moveTicks is the pace of moves, or a channel that stays silent where there
// are none.
func (s *Supervisor) moveTicks() (ticks <-chan time.Time, stop func()) {
	if s.config.Moves <= 0 {
		return nil, func() {}
	}
	ticker := time.NewTicker(time.Second / time.Duration(s.config.Moves))
	return ticker.C, ticker.Stop
}

// compareLoads works out how many sessions to move away from now on.
func (s *Supervisor) compareLoads(authority context.Context) {
	if s.config.Moves <= 0 {
		return
	}
	ctx, cancel := context.WithTimeout(authority, queryTimeout)
	defer cancel()
	loads, err := s.store.Loads(ctx)
	if err != nil {
		s.balance = balance{}
		s.complain(authority, "the connectors could not be compared", err)
		return
	}
	before := s.balance
	s.balance = balanceOf(s.me, s.Held(), loads, s.config.Settle, before.surplus > 0)
	if s.balance.surplus > 0 && before.surplus == 0 {
		s.log.Info("moving sessions to connectors that hold less", "sessions", s.balance.surplus)
	}
}

// moveOne gives one session back, any that is logged in and not just so.
func (s *Supervisor) moveOne() {
	if s.balance.surplus == 0 {
		return
	}
	for _, r := range s.runners() {
		if r.Working() >= s.config.Settle {
			s.balance.surplus--
			r.MoveAway()
			return
		}
	}
}

// balance is a connector's part in evening out, until the next comparison.
type balance struct {
	surplus int // sessions to move away
	// enough is what the connector may hold without taking what was given up for
	// those that hold less; 0 where there is no such limit.
	enough int
}

// share is the number of held sessions to claim with: where there is enough,
// one that leaves no room for any but what nobody else takes.
func (b balance) share(held int) int {
	if b.enough > 0 && held >= b.enough {
		return math.MaxInt32
	}
	return held
}

// balanceOf is how many of its sessions a connector should give to others: down
// to the level at which all are even, and no more than its part of what the
// others have room for below it. Connectors that have just come do not count,
// so that one that dies again and again gets nothing.
//
// Moves begin only where the gap to the emptiest is worth it, and once begun
// they go on to the level: from there on the gap is small, so that nothing goes
// to and fro.
func balanceOf(me session.ConnectorID, held int, loads []store.Load, settle time.Duration, moving bool) balance {
	others := slices.DeleteFunc(slices.Clone(loads), func(l store.Load) bool { return l.ID == me || l.Draining || l.Age < settle })
	low, high := levelOf(held, others)
	emptiest := held
	for _, l := range others {
		if l.Held < l.Slots {
			emptiest = min(emptiest, l.Held)
		}
	}
	uneven := held-emptiest > max(2, low/10)
	switch {
	case held <= low || !uneven && !moving:
		return balance{}
	case held <= high:
		return balance{enough: high}
	}
	return balance{surplus: surplusOf(me, held, others, low, high), enough: high}
}

func surplusOf(me session.ConnectorID, held int, others []store.Load, low, high int) int {
	mine := held - high
	room, given, fullest := 0, mine, true
	for _, l := range others {
		room += max(0, min(l.Slots, low)-l.Held)
		given += max(0, l.Held-high)
		fullest = fullest && (l.Held < held || l.Held == held && me < l.ID)
	}
	part := min(mine, room*mine/given)
	if part == 0 && room > 0 && fullest {
		return 1
	}
	return part
}

// levelOf is how many sessions each would hold if all were even, rounded down
// and up. Who has fewer slots than that is full and leaves the rest to the
// others. The asker's own slots are no matter: it holds no more than those.
func levelOf(held int, others []store.Load) (low, high int) {
	total, connectors := held, 1+len(others)
	for _, l := range others {
		total += l.Held
	}
	open := slices.Clone(others)
	for {
		level := total / connectors
		still := slices.DeleteFunc(slices.Clone(open), func(l store.Load) bool { return l.Slots < level })
		if len(still) == len(open) {
			return level, (total + connectors - 1) / connectors
		}
		for _, l := range open {
			if l.Slots < level {
				total -= l.Slots
				connectors--
			}
		}
		open = still
	}
}
