package supervisor

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/wafleet/wafleet/connector/runner"
	"github.com/wafleet/wafleet/shared/session"
	"github.com/wafleet/wafleet/shared/store"
)

func deleted(id string, epoch session.Epoch) store.Claim {
	c := claim(id, epoch)
	c.Wanted = session.Wanted{Desired: session.DesiredStopped, Generation: 2, Unlink: 2, Deleted: true}
	return c
}

// The rows go last, and then there is nothing to release.
func TestADeletedSessionIsErasedAndNotReleased(t *testing.T) {
	t.Parallel()
	simulate(t, rare(5), func(w *world) {
		w.take()
		w.queue(deleted("a", 3))
		w.want("claim 5/0", "open a", "changes", "erase a", "erase the rows of a", "claim 5/0")
		if n := w.Held(); n != 0 {
			t.Errorf("%d held", n)
		}
	})
}

// Whoever claims it next finds nothing to erase but the rows.
func TestRowsThatCannotBeRemovedAreReleased(t *testing.T) {
	t.Parallel()
	simulate(t, rare(5), func(w *world) {
		w.take()
		w.set(func() { w.onOpen = func(context.Context, store.Claim) error { w.down = true; return nil } })
		w.queue(deleted("a", 3))
		w.want("claim 5/0", "open a", "changes", "erase a", "erase the rows of a", "release a STOPPED", "claim 5/0")
	})
}

// Nobody asks again for a deleted session, so it must not give up.
func TestAStoreThatCannotBeOpened(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		claim   store.Claim
		err     error
		release string
		retries bool
	}{
		"wanted":           {claim("a", 3), errors.New("odd"), "release a FAILED STORE_ERROR", false},
		"wanted, secrets":  {claim("a", 3), fmt.Errorf("%w: key", runner.ErrSecrets), "release a FAILED SECRETS_UNREADABLE", false},
		"wanted, database": {claim("a", 3), session.ErrUnavailable, "release a STARTING STORE_ERROR", true},
		"deleted":          {deleted("a", 3), errors.New("odd"), "release a STARTING STORE_ERROR", true},
	} {
		t.Run(name, func(t *testing.T) {
			simulate(t, rare(5), func(w *world) {
				w.take()
				w.set(func() { w.onOpen = func(context.Context, store.Claim) error { return c.err } })
				w.queue(c.claim)
				w.want("claim 5/0", "open a", c.release, "claim 5/0")
				if r := w.reports[0]; (r.RetryIn > 0) != c.retries || r.RetryIn > 2*time.Minute {
					t.Errorf("%+v", r)
				}
			})
		})
	}
}
