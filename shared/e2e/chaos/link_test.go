package chaos

import (
	"fmt"
	"math/rand/v2"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/Shopify/toxiproxy/v2"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/rs/zerolog"
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

// link is the way of one connector to Postgres or to WhatsApp. Of the faults
// that it has at a time the worst one shows: toxiproxy's toxics block each other
// when they are stacked.
type link struct {
	testing.TB
	proxy *toxiproxy.Proxy

	mu     sync.Mutex
	faults []kind // guarded by mu
	shows  kind   // guarded by mu; empty where there is no fault
}

// worst are the faults of links, the worst first.
var worst = []kind{cut, blackHole, loseAnswers, throttle, slow}

func newLink(t testing.TB, name, upstream string) *link {
	t.Helper()
	server := toxiproxy.NewServer(toxiproxy.NewMetricsContainer(prometheus.NewRegistry()), zerolog.Nop())
	l := &link{TB: t, proxy: toxiproxy.NewProxy(server, name, hostOf(quietPort(t)), upstream)}
	if err := l.proxy.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(l.proxy.Stop)
	return l
}

// spoil begins a fault.
func (l *link) spoil(k kind) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.faults = append(l.faults, k)
	l.show()
}

// mend ends it.
func (l *link) mend(k kind) {
	l.mu.Lock()
	defer l.mu.Unlock()
	at := slices.Index(l.faults, k)
	l.faults = slices.Delete(l.faults, at, at+1)
	l.show()
}

// show puts the worst fault in the place of the one that shows; l.mu is held.
func (l *link) show() {
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

func (l *link) begin(k kind) {
	const both = "upstream downstream"
	switch k {
	case cut: // connections are closed, new ones refused
		l.proxy.Stop()
	case blackHole:
		l.toxic("timeout", both, `{"timeout":0}`)
	case loseAnswers: // what is asked arrives and is done
		l.toxic("timeout", "downstream", `{"timeout":0}`)
	case slow:
		l.toxic("latency", "downstream", `{"latency":250,"jitter":150}`)
	case throttle: // KB/s
		l.toxic("bandwidth", both, `{"rate":8}`)
	}
}

func (l *link) toxic(name, streams, attributes string) {
	for stream := range strings.FieldsSeq(streams) {
		toxic := fmt.Sprintf(`{"type":%q,"stream":%q,"attributes":%s}`, name, stream, attributes)
		if _, err := l.proxy.Toxics.AddToxicJson(strings.NewReader(toxic)); err != nil {
			l.Errorf("toxic %s: %v", toxic, err)
		}
	}
}

func (l *link) end(k kind) {
	switch k {
	case "":
	case cut:
		if err := l.proxy.Start(); err != nil {
			l.Errorf("restore the link: %v", err)
		}
	default:
		l.proxy.Toxics.ResetToxics(l.Context())
	}
}
