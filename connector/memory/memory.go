// Package memory keeps a connector as small as what it holds.
//
// A session that logs in, and even more one that is linked, needs several times
// the memory of an idle one. After many at once the runtime would keep what they
// took: it collects when the heap has grown by its double, or every two minutes,
// and gives little of it back. So the process collects once when it has become
// quiet ([Reclaimer]). Below a container's limit it collects in time ([Limit]).
package memory

import (
	"errors"
	"log/slog"
	"math"
	"runtime/debug"
	"sync"
	"time"

	"github.com/KimMachineGun/automemlimit/memlimit"
)

// share of a container's memory that the runtime may use; the rest is for what it
// does not count: the program itself and the kernel's buffers.
const share = 0.9

// Limit tells the runtime of the container's limit, where there is one and
// GOMEMLIMIT says nothing else.
func Limit(log *slog.Logger) {
	if _, err := memlimit.Set(memlimit.WithProvider(memlimit.FromCgroup), memlimit.WithRatio(share), memlimit.WithLogger(slog.New(slog.DiscardHandler))); err != nil {
		if !errors.Is(err, memlimit.ErrNoLimit) && !errors.Is(err, memlimit.ErrNoCgroup) {
			log.Debug("the container's memory limit is not known", "error", err.Error())
		}
		return
	}
	if limit := debug.SetMemoryLimit(-1); limit != math.MaxInt64 {
		log.Info("memory limit", "bytes", limit)
	}
}

// How long after the last connection the process is quiet, and after how many it
// is worth a collection.
const (
	quiet = 10 * time.Second
	many  = 20
)

// Reclaimer collects and gives memory back when many connections have been made
// and no more are. Its zero value is ready; while nothing connects it costs
// nothing.
type Reclaimer struct {
	// Free is called for it, from a goroutine of its own; nil is
	// debug.FreeOSMemory.
	Free func()

	mu      sync.Mutex
	made    int         // guarded by mu; connections since the last time
	timer   *time.Timer // guarded by mu; nil before the first
	stopped bool        // guarded by mu
}

// Connected notes that a connection was made. Safe for concurrent use.
func (r *Reclaimer) Connected() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.made++
	switch {
	case r.stopped:
	case r.timer == nil:
		r.timer = time.AfterFunc(quiet, r.reclaim)
	default:
		r.timer.Reset(quiet)
	}
}

// Stop ends it; what is under way ends by itself.
func (r *Reclaimer) Stop() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.stopped = true
	if r.timer != nil {
		r.timer.Stop()
	}
}

func (r *Reclaimer) reclaim() {
	r.mu.Lock()
	enough := r.made >= many && !r.stopped
	if enough {
		r.made = 0
	}
	r.mu.Unlock()
	if !enough {
		return
	}
	if r.Free != nil {
		r.Free()
		return
	}
	debug.FreeOSMemory()
}
