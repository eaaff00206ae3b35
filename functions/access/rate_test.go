package access

import (
	"testing"
	"testing/synctest"
	"time"
)

func TestTheAllowanceIsExact(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		a := New(nil, Config{RatePerSecond: 4, RateBurst: 3})
		want := func(key string, want Allowance) {
			t.Helper()
			want.Limit = 3
			if got, bounded := a.Spend(Caller{KeyID: key}); got != want || !bounded {
				t.Errorf("%+v, want %+v", got, want)
			}
		}
		const token = 250 * time.Millisecond
		want("a", Allowance{Remaining: 2, Reset: token})
		want("a", Allowance{Remaining: 1, Reset: 2 * token})
		want("a", Allowance{Remaining: 0, Reset: 3 * token})
		want("a", Allowance{Remaining: 0, Reset: 3 * token, RetryAfter: token})
		want("b", Allowance{Remaining: 2, Reset: token}) // a bucket of its own
		time.Sleep(token - 50*time.Millisecond)
		want("a", Allowance{Remaining: 0, Reset: 3*token - 200*time.Millisecond, RetryAfter: 50 * time.Millisecond})
		time.Sleep(50 * time.Millisecond)
		want("a", Allowance{Remaining: 0, Reset: 3 * token})
		time.Sleep(2 * token)
		want("a", Allowance{Remaining: 1, Reset: 2 * token})
		time.Sleep(time.Hour)
		want("a", Allowance{Remaining: 2, Reset: token})
	})
}

func TestARateOfZeroBoundsNothing(t *testing.T) {
	t.Parallel()
	a := New(nil, Config{})
	for range 1000 {
		if allowance, bounded := a.Spend(Caller{KeyID: "a"}); bounded || allowance != (Allowance{}) {
			t.Fatalf("%+v", allowance)
		}
	}
}
