package session

import (
	"math"
	"time"
)

// A LastHour counts in steps of this, so it forgets to within five minutes.
const hourStep = 5 * time.Minute

const hourSteps = int(time.Hour / hourStep)

// LastHour counts what happened within the last hour, in a few bytes. The zero
// value has counted nothing. Times must all come from one clock. Two are equal
// if and only if they have counted the same.
type LastHour struct {
	steps [hourSteps]uint16 // newest first
	since time.Time         // when the newest step began
}

// LastHourOf returns what Steps took apart.
func LastHourOf(counts []int64, since time.Time) LastHour {
	h := LastHour{since: since}
	for i := range min(len(counts), hourSteps) {
		h.steps[i] = uint16(max(0, min(counts[i], math.MaxUint16))) // #nosec G115 -- bounded on both sides
	}
	return h
}

// Steps returns the counts of every five minutes, newest first, and when the
// newest began; nothing where nothing was counted.
func (h LastHour) Steps() (counts []int64, since time.Time) {
	if h.since.IsZero() {
		return nil, h.since
	}
	counts = make([]int64, hourSteps)
	for i, n := range h.steps {
		counts[i] = int64(n)
	}
	return counts, h.since
}

// Add counts one.
func (h *LastHour) Add(now time.Time) {
	if h.since.IsZero() {
		h.since = now
	}
	if passed := int(now.Sub(h.since) / hourStep); passed > 0 {
		var moved [hourSteps]uint16
		for i := range max(0, hourSteps-passed) {
			moved[i+passed] = h.steps[i]
		}
		h.steps, h.since = moved, h.since.Add(time.Duration(passed)*hourStep)
	}
	if h.steps[0] < math.MaxUint16 {
		h.steps[0]++
	}
}

// Count returns how often Add was called within the hour before now.
func (h LastHour) Count(now time.Time) int {
	n := 0
	passed := max(0, int(now.Sub(h.since)/hourStep))
	for i := range max(0, hourSteps-passed) {
		n += int(h.steps[i])
	}
	return n
}
