package whatsapp

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"go.mau.fi/whatsmeow/types/events"
)

func TestOrder(t *testing.T) {
	t.Parallel()
	saved := func(o *order) { o.saved.set() }
	nothing := func(*order) {}
	for name, tt := range map[string]struct {
		event any
		given func(*order)
		then  func(*order) // nil: the event is not held back at all
	}{
		"the end of a pairing waits for the pairing": {&events.ManualLoginReconnect{}, saved, func(o *order) { o.after(&events.PairSuccess{}) }},
		"so does a lost connection":                  {&events.Disconnected{}, saved, func(o *order) { o.after(&events.PairSuccess{}) }},
		"or for its failure":                         {&events.Disconnected{}, saved, func(o *order) { o.after(&events.PairError{}) }},
		"a logout waits for the deletion":            {&events.LoggedOut{}, nothing, func(o *order) { o.forgotten.set() }},
		"a connection lost without a pairing":        {&events.Disconnected{}, nothing, nil},
		"after the pairing was told":                 {&events.ManualLoginReconnect{}, func(o *order) { o.saved.set(); o.after(&events.PairSuccess{}) }, nil},
		"anything else":                              {&events.Connected{}, saved, nil},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				start := time.Now()
				for _, ending := range []string{"in turn", "too late", "cancelled"} {
					o := newOrder()
					tt.given(o)
					ctx, cancel := context.WithCancel(t.Context())
					told := make(chan struct{})
					go func() { o.before(ctx, tt.event); close(told) }()
					synctest.Wait()
					if isClosed(told) != (tt.then == nil) {
						t.Errorf("told at once: %v", isClosed(told))
					}
					switch {
					case tt.then == nil:
					case ending == "in turn":
						tt.then(o)
					case ending == "cancelled":
						cancel()
					}
					<-told
					took := time.Since(start)
					if late := tt.then != nil && ending == "too late"; late != (took == orderTimeout) {
						t.Errorf("%s: told after %v", ending, took)
					}
					start = time.Now()
					cancel()
				}
			})
		})
	}
}
