package session

import (
	"math/rand/v2"
	"testing"
	"time"
)

// Against the list of all times: a step of five minutes may make a difference,
// more must not.
func TestLastHourForgetsAfterAnHour(t *testing.T) {
	t.Parallel()
	random := rand.New(rand.NewPCG(1, 2))
	for range 200 {
		var h LastHour
		var times []time.Time
		now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
		within := func(d time.Duration) (n int) {
			for _, at := range times {
				if now.Sub(at) < d {
					n++
				}
			}
			return n
		}
		for range 100 {
			now = now.Add(time.Duration(random.ExpFloat64() * float64(2*time.Minute)))
			if random.IntN(50) == 0 {
				now = now.Add(time.Duration(random.IntN(90)) * time.Minute)
			}
			if random.IntN(3) > 0 {
				h.Add(now)
				times = append(times, now)
			}
			if random.IntN(10) == 0 { // through the database
				steps, since := h.Steps()
				if again := LastHourOf(steps, since); again != h {
					t.Fatalf("%+v came back as %+v", h, again)
				}
			}
			if got, low, high := h.Count(now), within(time.Hour-hourStep), within(time.Hour+hourStep); got < low || got > high {
				t.Fatalf("counted %d, want %d to %d", got, low, high)
			}
		}
	}
}

func TestLastHourOfNothing(t *testing.T) {
	t.Parallel()
	var h LastHour
	if steps, _ := h.Steps(); steps != nil || h.Count(time.Now()) != 0 {
		t.Errorf("%v, %d", steps, h.Count(time.Now()))
	}
	h.Add(time.Now())
	if n := h.Count(time.Now().Add(2 * time.Hour)); n != 0 {
		t.Errorf("%d two hours later", n)
	}
}

// TestOddCountsAreNoThousands: what a column may hold is not what was written.
func TestOddCountsAreNoThousands(t *testing.T) {
	t.Parallel()
	now := time.Now()
	for _, counts := range [][]int64{{-1}, {-1 << 40, 0}, {-65535}} {
		if n := LastHourOf(counts, now).Count(now); n != 0 {
			t.Errorf("%v count as %d", counts, n)
		}
	}
	if n := LastHourOf([]int64{1 << 40}, now).Count(now); n != 65535 {
		t.Errorf("too many count as %d", n)
	}
}
