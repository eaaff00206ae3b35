package runner

import (
	"context"
	"errors"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/wafleet/wafleet/connector/event"
	"github.com/wafleet/wafleet/shared/session"
)

// Logouts among random events, commands and troubles; in the end the session is
// deleted, and erased in time whatever was before.
func TestRandomLogoutsAndADeletion(t *testing.T) {
	t.Parallel()
	const terms, steps = 300, 50
	erased := 0
	for seed := range uint64(terms) {
		simulate(t, func(w *world) {
			random := rand.New(rand.NewPCG(seed, 2))
			w.disturb(random)
			w.disturbLeaving(random)
			w.start(linked)
			generation, unlink := session.Generation(1), session.Generation(0)
			for range steps {
				if w.hasEnded() {
					w.checkEnd(seed)
					return
				}
				switch random.IntN(5) {
				case 0:
					generation++
					if random.IntN(2) == 0 {
						unlink = generation
					}
					c := wants(generation, session.DesiredRunning)
					if random.IntN(8) == 0 {
						c = wants(generation, session.DesiredStopped)
					}
					c.Wanted.Unlink = unlink
					w.tell(c)
				case 1:
					w.disturbLeaving(random)
				default:
					w.operate(random, new(session.Generation)) // what it asks for is old
				}
			}
			w.set(func() {
				w.onDial, w.onWrite, w.onUnlink, w.onForget, w.onClose, w.onProbe = nil, nil, nil, nil, nil, nil
			})
			w.tell(deletes(generation + 1))
			w.after(DefaultTiming().Patience + time.Minute)
			if !w.hasEnded() {
				t.Fatalf("seed %d: not erased, but %s", seed, w.in())
			}
			w.checkEnd(seed)
			if w.end.Erased {
				erased++
			}
		})
	}
	if erased < terms/4 {
		t.Errorf("%d of %d terms came to the deletion", erased, terms)
	}
}

func (w *world) hasEnded() bool {
	select {
	case o := <-w.out:
		w.out <- o
		return true
	default:
		return false
	}
}

// disturbLeaving changes how WhatsApp and the device store take a logout.
func (w *world) disturbLeaving(random *rand.Rand) {
	silent, refusing, failing := random.IntN(3) == 0, random.IntN(3) == 0, random.IntN(3) == 0
	w.set(func() {
		w.onUnlink = func(ctx context.Context) error {
			switch {
			case silent:
				return untilOver(ctx)
			case refusing:
				return errors.New("item-not-found")
			}
			return nil
		}
		w.onForget = func(context.Context) error {
			if failing {
				return event.ErrStore
			}
			return nil
		}
	})
}
