package backoff

import (
	"testing"
	"time"
)

func TestPausesGrowToTheCapAndStayInBounds(t *testing.T) {
	p := Policy{Base: time.Second, Max: 60 * time.Second}
	for n, want := range map[int]time.Duration{1: 1, 2: 2, 3: 4, 6: 32, 7: 60, 8: 60, 1000: 60} {
		if got := p.Ceiling(n); got != want*time.Second {
			t.Errorf("ceiling of attempt %d is %v, want %ds", n, got, want)
		}
		for range 1000 {
			if pause := p.Pause(n); pause < p.Ceiling(n)/10 || pause > p.Ceiling(n) {
				t.Fatalf("pause %v before attempt %d", pause, n)
			}
		}
	}
	if pause := (Policy{}).Pause(3); pause != 0 {
		t.Errorf("no policy pauses %v", pause)
	}
}

func TestJitterKeepsWithinATenth(t *testing.T) {
	for range 1000 {
		if d := Jitter(time.Second); d < 900*time.Millisecond || d > 1100*time.Millisecond {
			t.Fatalf("jittered to %v", d)
		}
	}
	if Jitter(5) != 5 {
		t.Error("a tiny interval changed")
	}
}
