package supervisor

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/wafleet/wafleet/shared/session"
	"github.com/wafleet/wafleet/shared/store"
)

func fleetOf(held ...int) []store.Load {
	loads := make([]store.Load, len(held))
	for i, n := range held {
		loads[i] = store.Load{ID: session.ConnectorID(fmt.Sprint("c", i)), Slots: 500, Held: n, Age: time.Hour}
	}
	return loads
}

func TestSurplus(t *testing.T) {
	t.Parallel()
	young := fleetOf(200, 0)
	young[1].Age = time.Second
	small := fleetOf(200, 0)
	small[1].Slots = 30
	for name, c := range map[string]struct {
		loads  []store.Load
		moving bool
		want   int
	}{
		"alone":                       {fleetOf(200), false, 0},
		"one joins":                   {fleetOf(200, 0), false, 100},
		"one joins three":             {fleetOf(167, 167, 166, 0), false, 42},
		"one joins many":              {fleetOf(105, 105, 105, 105, 105, 105, 105, 105, 105, 0), false, 10},
		"even":                        {fleetOf(100, 100, 100), false, 0},
		"nearly even":                 {fleetOf(104, 100, 96), false, 0},
		"nearly even, while it moves": {fleetOf(104, 100, 96), true, 4},
		"less than the others":        {fleetOf(50, 100, 100), false, 0},
		"a small gap":                 {fleetOf(2, 0), false, 0},
		"another gives more":          {fleetOf(100, 200, 0), false, 0},
		"another gives too":           {fleetOf(150, 200, 0), false, 33},
		"a newcomer":                  {young, false, 0},
		"few slots":                   {small, false, 30},
		"no room":                     {[]store.Load{{ID: "c0", Slots: 500, Held: 200, Age: time.Hour}, {ID: "c1", Age: time.Hour}}, false, 0},
	} {
		if got := balanceOf("c0", c.loads[0].Held, c.loads, 10*time.Second, c.moving).surplus; got != c.want {
			t.Errorf("%s: %d, want %d", name, got, c.want)
		}
	}
}

// Any fleet becomes even, in as few moves as there must be, and stays so.
func TestBalanceSettles(t *testing.T) {
	t.Parallel()
	random := rand.New(rand.NewPCG(3, 4))
	for round := range 300 {
		loads := fleetOf(make([]int, 1+random.IntN(8))...)
		total := 0
		for i := range loads {
			loads[i].Slots = 50 + random.IntN(200)
			loads[i].Held = random.IntN(loads[i].Slots + 1)
			total += loads[i].Held
		}
		before := slices.Clone(loads)
		moving := make([]bool, len(loads))
		moves := 0
		for quiet := 0; quiet < 2; quiet++ {
			for i := range loads {
				surplus := balanceOf(loads[i].ID, loads[i].Held, loads, 0, moving[i]).surplus
				moving[i] = surplus > 0
				for range surplus {
					quiet = 0
					to := emptiest(loads)
					if to == i {
						t.Fatalf("round %d: %v gives to itself", round, loads)
					}
					loads[i].Held--
					loads[to].Held++
					if moves++; moves > total {
						t.Fatalf("round %d does not settle: %v", round, loads)
					}
				}
			}
		}
		low, high := levelOf(loads[0].Held, loads[1:])
		room := 0
		for _, l := range loads {
			room += max(0, min(l.Slots, low)-l.Held)
		}
		for _, l := range loads {
			gap := l.Held - loads[emptiest(loads)].Held
			if l.Held > high && room >= len(loads) && gap > max(2, low/10) {
				t.Fatalf("round %d settled at %v, from %v", round, loads, before)
			}
		}
		need := 0
		for _, l := range before {
			need += max(0, l.Held-total/len(loads))
		}
		if moves > need {
			t.Fatalf("round %d: %d moves where %d do, from %v", round, moves, need, before)
		}
	}
}

// emptiest is the connector that has taken the least and has room.
func emptiest(loads []store.Load) int {
	best := 0
	for i, l := range loads {
		if l.Held < l.Slots && (loads[best].Held >= loads[best].Slots || l.Held < loads[best].Held) {
			best = i
		}
	}
	return best
}

func TestSessionsMoveOneAtATime(t *testing.T) {
	t.Parallel()
	config := rare(100)
	config.OrphanScan, config.Moves = 5*time.Second, 2
	simulate(t, config, func(w *world) {
		moved := 0
		w.loads = func() []store.Load {
			return []store.Load{{ID: "me", Slots: 100, Held: 24 - moved, Age: time.Hour}, {ID: "other", Slots: 100, Held: moved, Age: time.Hour}}
		}
		w.onLeave = func(context.Context, store.Report) error {
			w.set(func() { moved++ })
			return nil
		}
		linked, waiting := many(20), many(24)[20:]
		for i := range waiting {
			waiting[i].JID = ""
		}
		w.queue(linked...)
		w.queue(waiting...)
		w.take()
		w.after(9 * time.Second)
		if n := count(w.take(), "handover rebalance"); n != 0 {
			t.Errorf("%d moved right after their login", n)
		}
		w.after(11 * time.Second)
		if n := count(w.take(), "handover rebalance"); n != 12 || w.Held() != 12 {
			t.Errorf("%d moved, %d are left", n, w.Held())
		}
		w.after(time.Minute)
		if w.Held() != 12 || w.Pairing() != 4 {
			t.Errorf("%d are left, %d wait for a scan", w.Held(), w.Pairing())
		}
	})
}

// Who has given sessions up for others leaves them to the others, until nobody
// has taken them for a while.
func TestWhatWasGivenIsLeftToOthers(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		loads []store.Load
		want  []int // the share to claim with, by the number held
	}{
		"a giver":         {fleetOf(8, 5), []int{0, 1, 2, 3, 4, 5, 6, math.MaxInt32, math.MaxInt32}},
		"a taker":         {fleetOf(5, 8), []int{0, 1, 2, 3, 4, 5, 6, 7, 8}},
		"an even fleet":   {fleetOf(7, 6), []int{0, 1, 2, 3, 4, 5, 6, 7, 8}},
		"neither of both": {fleetOf(11, 20, 0), []int{0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, math.MaxInt32}},
	} {
		b := balanceOf("c0", c.loads[0].Held, c.loads, 10*time.Second, false)
		for held, want := range c.want {
			if got := b.share(held); got != want {
				t.Errorf("%s claims with %d when it holds %d, want %d", name, got, held, want)
			}
		}
	}
}

func TestNothingMovesWhereItIsOff(t *testing.T) {
	t.Parallel()
	config := rare(100)
	config.OrphanScan = 5 * time.Second
	simulate(t, config, func(w *world) {
		w.loads = func() []store.Load { return fleetOf(20, 0) }
		w.queue(many(20)...)
		w.after(time.Minute)
		if w.Held() != 20 {
			t.Errorf("%d are left", w.Held())
		}
	})
}
