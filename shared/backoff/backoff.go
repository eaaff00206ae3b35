// Package backoff computes pauses between attempts: capped exponential growth
// with full jitter, so that sessions which failed together do not return
// together. It is pure; the caller waits.
package backoff

import (
	"math/rand/v2"
	"time"
)

// Policy bounds the pauses.
type Policy struct {
	Base time.Duration // upper bound of the first pause
	Max  time.Duration // upper bound of every pause
}

// Ceiling is the longest that the pause before attempt n (from 1) can be.
func (p Policy) Ceiling(n int) time.Duration {
	ceiling := p.Base
	for ; n > 1 && ceiling < p.Max; n-- {
		ceiling *= 2
	}
	return min(ceiling, p.Max)
}

// Pause returns a random pause before attempt n (from 1), between a tenth of
// the ceiling and the ceiling. The floor keeps a single session from retrying
// without any pause at all.
func (p Policy) Pause(n int) time.Duration {
	ceiling := p.Ceiling(n)
	if ceiling <= 0 {
		return 0
	}
	floor := ceiling / 10
	return floor + time.Duration(rand.Int64N(int64(ceiling-floor)+1)) // #nosec G404 -- jitter is no secret
}

// Jitter spreads a regular interval by a tenth in both directions.
func Jitter(d time.Duration) time.Duration {
	spread := d / 10
	if spread <= 0 {
		return d
	}
	return d - spread + time.Duration(rand.Int64N(int64(2*spread)+1)) // #nosec G404 -- jitter is no secret
}
