package control

import (
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/wafleet/wafleet/shared/session"
)

// counting is a store of which only the counts matter.
type counting struct {
	Store
	mu    sync.Mutex
	down  error
	share float64
	asked int
}

func (c *counting) Ping(context.Context) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.down
}

func (c *counting) OutdatedShare(context.Context) (float64, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.asked++
	return c.share, c.down
}

func TestHealthCountsOnceForMany(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := &counting{share: 0.10}
		c := New(s, Config{})
		want := func(outdated bool, asked int) {
			t.Helper()
			var all sync.WaitGroup
			for range 10 {
				all.Go(func() {
					if h, err := c.Health(t.Context()); err != nil || h.ClientOutdated != outdated {
						t.Errorf("%+v %v, want %v", h, err, outdated)
					}
				})
			}
			all.Wait()
			if s.asked != asked {
				t.Errorf("counted %d times, want %d", s.asked, asked)
			}
		}
		want(false, 1) // a tenth is not more than a tenth
		s.share = 0.11
		want(false, 1)
		time.Sleep(healthAge + 1)
		want(true, 2)
		s.share = 0
		time.Sleep(healthAge + 1)
		want(false, 3)

		s.down = session.ErrUnavailable
		if _, err := c.Health(t.Context()); !errors.Is(err, session.ErrUnavailable) {
			t.Errorf("%v", err)
		}
	})
}
