package store_test

import (
	"context"
	"sync"
	"testing"
	"time"

	"github.com/wafleet/wafleet/shared/session"
	"github.com/wafleet/wafleet/shared/store"
)

// A holder that gives a session back inserts a job, which needs the session's
// row to exist; a request has that row and inserts the same job. Neither may
// wait for the other.
func TestARequestAndAReleaseDoNotWaitForEachOther(t *testing.T) {
	t.Parallel()
	for name, request := range map[string]func(f *fleet, ctx context.Context, name session.Name) error{
		"restart": func(f *fleet, ctx context.Context, name session.Name) error {
			_, err := f.Restart(ctx, f.actor(), name, nil)
			return err
		},
		"delete": func(f *fleet, ctx context.Context, name session.Name) error {
			_, err := f.Delete(ctx, f.actor(), name)
			return err
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := newFleet(t)
			me := f.connector("c")
			for round := range 40 {
				name := session.Name("s" + string(rune('a'+round%26)) + string(rune('a'+round/26)))
				f.start(name)
				claim := f.claim(me, 1)[0]
				var both sync.WaitGroup
				ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
				both.Go(func() {
					if err := request(f, ctx, name); err != nil {
						t.Errorf("the request: %v", err)
					}
				})
				both.Go(func() {
					for range 5 { // as the reporter does
						_, err := f.ReleaseIfEpoch(ctx, me, []store.Report{report(claim, session.Starting)})
						if err == nil {
							return
						}
					}
					t.Error("the release failed five times")
				})
				both.Wait()
				cancel()
				for _, again := range f.claim(me, 100) { // out of the way of the next round
					if err := f.SetDeviceIfEpoch(t.Context(), me, termOf(again), "", again.Wanted.Generation); err != nil {
						t.Fatal(err)
					}
				}
			}
		})
	}
}
