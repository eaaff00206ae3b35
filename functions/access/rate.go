package access

import (
	"math"
	"sync"
	"time"

	"golang.org/x/time/rate"
)

// Allowance is what a key may still ask for.
type Allowance struct {
	Limit     int           // requests at once
	Remaining int           // requests that would be answered now
	Reset     time.Duration // until Remaining is Limit again
	// RetryAfter is how long to wait for one more request; 0 where this one is
	// allowed.
	RetryAfter time.Duration
}

// maxBuckets bounds the memory of the rate limit.
const maxBuckets = 4096

// buckets is a token bucket per key that asked lately.
type buckets struct {
	rate  rate.Limit // per second; 0 bounds nothing
	burst int

	mu    sync.Mutex // guards byKey
	byKey map[string]*rate.Limiter
}

func newBuckets(perSecond float64, burst int) *buckets {
	return &buckets{rate: rate.Limit(perSecond), burst: burst, byKey: map[string]*rate.Limiter{}}
}

// spend takes one token. The second value is false where nothing is bounded.
func (b *buckets) spend(key string, now time.Time) (Allowance, bool) {
	if b.rate <= 0 {
		return Allowance{}, false
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	bucket := b.byKey[key]
	if bucket == nil {
		b.makeRoom(now)
		bucket = rate.NewLimiter(b.rate, b.burst)
		b.byKey[key] = bucket
	}
	allowed := bucket.AllowN(now, 1)
	left := bucket.TokensAt(now)
	a := Allowance{Limit: b.burst, Remaining: int(math.Floor(left + rounding)), Reset: b.wait(float64(b.burst) - left)}
	if !allowed {
		a.Remaining, a.RetryAfter = 0, b.wait(1-left)
	}
	return a, true
}

// rounding is far less than a token and far more than what is lost when times
// become tokens and back.
const rounding = 1e-6

// wait is how long so many tokens take.
func (b *buckets) wait(tokens float64) time.Duration {
	return time.Duration(math.Max(0, tokens) / float64(b.rate) * float64(time.Second)).Round(time.Microsecond)
}

// makeRoom forgets buckets that are full, which are as good as new ones, and
// all where none is.
func (b *buckets) makeRoom(now time.Time) {
	if len(b.byKey) < maxBuckets {
		return
	}
	for key, bucket := range b.byKey {
		if bucket.TokensAt(now) >= float64(b.burst) {
			delete(b.byKey, key)
		}
	}
	if len(b.byKey) >= maxBuckets {
		clear(b.byKey)
	}
}
