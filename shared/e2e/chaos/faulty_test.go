package chaos

import (
	"math/rand/v2"
	"net"
	"slices"
	"sync"
	"testing"

	"github.com/wafleet/wafleet/shared/e2e/link"
)

// quietPort returns a free port that nobody else takes while nobody listens on
// it: it is below those that kernels give to outgoing connections. One of these
// may be in use when a server comes back, or lead back to the caller itself.
func quietPort(t testing.TB) int {
	t.Helper()
	const low, high, attempts = 10240, 32768, 100
	for range attempts {
		port := low + rand.IntN(high-low)
		listener, err := net.Listen("tcp", hostOf(port))
		if err == nil {
			listener.Close()
			return port
		}
	}
	t.Fatal("no port is free")
	return 0
}

// faulty is the way of one connector to Postgres or to WhatsApp. Of the faults
// that it has at a time the worst one shows: toxiproxy's toxics block each other
// when they are stacked.
type faulty struct {
	*link.Link

	mu     sync.Mutex
	faults []kind // guarded by mu
	shows  kind   // guarded by mu; empty where there is no fault
}

// worst are the faults of links, the worst first.
var worst = []kind{cut, blackHole, loseAnswers, throttle, slow}

func newFaulty(t testing.TB, upstream string) *faulty {
	t.Helper()
	return &faulty{Link: link.New(t, hostOf(quietPort(t)), upstream)}
}

// spoil begins a fault.
func (l *faulty) spoil(k kind) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.faults = append(l.faults, k)
	l.show()
}

// mend ends it.
func (l *faulty) mend(k kind) {
	l.mu.Lock()
	defer l.mu.Unlock()
	at := slices.Index(l.faults, k)
	l.faults = slices.Delete(l.faults, at, at+1)
	l.show()
}

// show puts the worst fault in the place of the one that shows; l.mu is held.
func (l *faulty) show() {
	next := kind("")
	for _, k := range worst {
		if slices.Contains(l.faults, k) {
			next = k
			break
		}
	}
	if next == l.shows {
		return
	}
	l.end(l.shows)
	l.begin(next)
	l.shows = next
}

func (l *faulty) begin(k kind) {
	switch k {
	case cut: // connections are closed, new ones refused
		l.Cut()
	case blackHole:
		l.Swallow()
	case loseAnswers: // what is asked arrives and is done
		l.Spoil("timeout", "downstream", `{"timeout":0}`)
	case slow:
		l.Spoil("latency", "downstream", `{"latency":250,"jitter":150}`)
	case throttle: // KB/s
		l.Spoil("bandwidth", link.Both, `{"rate":8}`)
	}
}

func (l *faulty) end(k kind) {
	if k != "" {
		l.Restore()
	}
}
