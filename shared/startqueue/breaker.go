package startqueue

import (
	"sync"
	"time"

	"github.com/wafleet/wafleet/shared/backoff"
)

// tolerated failures in a row are a matter of cold connections.
const tolerated = 3

var breakerPause = backoff.Policy{Base: time.Second, Max: 30 * time.Second}

// breaker spares callers the wait for what does not answer: after some failures
// in a row it lets one in a while try, until one succeeds.
type breaker struct {
	mu       sync.Mutex
	failures int       // guarded by mu; in a row
	until    time.Time // guarded by mu; nobody may try before
	trying   bool      // guarded by mu; one does, after the pause
}

// enter reports whether to try; who may calls leave afterwards.
func (b *breaker) enter() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.failures < tolerated {
		return true
	}
	if b.trying || time.Now().Before(b.until) {
		return false
	}
	b.trying = true
	return true
}

func (b *breaker) leave(ok bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.trying = false
	if ok {
		b.failures = 0
		return
	}
	if b.failures++; b.failures >= tolerated {
		b.until = time.Now().Add(breakerPause.Pause(b.failures - tolerated + 1))
	}
}
