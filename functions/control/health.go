package control

import (
	"context"
	"sync"
	"time"

	"github.com/wafleet/wafleet/shared/store"
)

// Health is what an operator wants to know at a glance, and any caller may.
type Health struct {
	// ClientOutdated says that WhatsApp refuses the client version of so many
	// sessions that it is the deployment's trouble.
	ClientOutdated bool
}

// healthAge is how old a count may be: it looks at every session, and anybody
// may ask for it.
const healthAge = 15 * time.Second

// healthCache is one count for all who ask.
type healthCache struct {
	mu    sync.Mutex
	at    time.Time // guarded by mu; of share
	share float64   // guarded by mu
}

// Health reports whether the database answers, and how the sessions are.
func (c *Control) Health(ctx context.Context) (Health, error) {
	if err := c.store.Ping(ctx); err != nil {
		return Health{}, err
	}
	c.health.mu.Lock()
	defer c.health.mu.Unlock()
	if time.Since(c.health.at) > healthAge {
		share, err := c.store.OutdatedShare(ctx)
		if err != nil {
			return Health{}, err
		}
		c.health.share, c.health.at = share, time.Now()
	}
	return Health{ClientOutdated: c.health.share > store.OutdatedAlarm}, nil
}
