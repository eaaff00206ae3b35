package memory

import (
	"bytes"
	"log/slog"
	"math"
	"runtime/debug"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestMemoryIsGivenBackOnceAfterABurst(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var freed atomic.Int64
		r := Reclaimer{Free: func() { freed.Add(1) }}
		want := func(n int64) {
			t.Helper()
			synctest.Wait()
			if got := freed.Load(); got != n {
				t.Errorf("given back %d times, want %d", got, n)
			}
		}
		burst := func(n int) {
			for range n {
				r.Connected()
				time.Sleep(quiet / 2)
			}
		}
		burst(many - 1)
		time.Sleep(time.Hour)
		want(0) // too few
		burst(1)
		want(0) // not quiet yet
		time.Sleep(quiet)
		want(1)
		time.Sleep(time.Hour)
		want(1) // once is enough
		burst(3 * many)
		time.Sleep(quiet)
		want(2)
		burst(many)
		r.Stop()
		r.Connected()
		time.Sleep(time.Hour)
		want(2)
	})
}

// What the machine limits is not known here: only that both agree.
func TestTheLimitIsTheContainers(t *testing.T) {
	before := debug.SetMemoryLimit(-1)
	t.Cleanup(func() { debug.SetMemoryLimit(before) })
	var log bytes.Buffer
	Limit(slog.New(slog.NewJSONHandler(&log, nil)))
	if limited := debug.SetMemoryLimit(-1) != math.MaxInt64; limited != strings.Contains(log.String(), "memory limit") {
		t.Errorf("limit %d, log %q", debug.SetMemoryLimit(-1), log.String())
	}
	debug.SetMemoryLimit(before)
	t.Setenv("GOMEMLIMIT", "123MiB")
	Limit(slog.New(slog.DiscardHandler))
	if got := debug.SetMemoryLimit(-1); got != before {
		t.Errorf("GOMEMLIMIT is set, and the limit became %d", got)
	}
}
