package conformance

import (
	"fmt"
	"net/http"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/wafleet/wafleet/shared/pgtest"
)

// load is one kind of request, and what is aimed at with 16 clients.
type load struct {
	name      string
	aim       int // requests per second
	aimedP99  time.Duration
	next      func() request
	successes int // status
}

func loads(key string) []load {
	var n atomic.Int64
	return []load{
		{"GET session", 3000, 25 * time.Millisecond, func() request { return request{path: "/api/sessions/one", key: key} }, http.StatusOK},
		{"POST start", 700, 0, func() request {
			return request{method: "POST", path: fmt.Sprintf("/api/sessions/s%d/start", n.Add(1)), key: key, body: vendorsBody}
		}, http.StatusCreated},
	}
}

// BenchmarkAPI measures the API as "make run" serves it: the built listener, over
// loopback, with a warm key, an access log, and a Postgres of its own that syncs
// every commit to the disk. The clients are this process; all share the
// machine's cores. No connector runs.
func BenchmarkAPI(b *testing.B) {
	url := pgtest.Durable(b, migrate)
	s := newDeployment(b, url)
	s.listener = s.newListener("LOG_LEVEL=INFO")
	s.listener.hurried = true
	s.owner(request{method: "POST", path: "/api/sessions", body: `{"name":"one","start":false}`})
	var report strings.Builder
	load, err := os.ReadFile("/proc/loadavg")
	if err == nil {
		fmt.Fprintf(&report, "load of the machine before: %s", load)
	}
	fmt.Fprintf(&report, "fsync %s, synchronous_commit %s\n", s.texts("SHOW fsync")[0], s.texts("SHOW synchronous_commit")[0])
	fmt.Fprintf(&report, "%-12s %8s %12s %9s %9s   %s\n", "request", "clients", "requests/s", "p50 ms", "p99 ms", "aim at 16 clients")
	for b.Loop() {
		for _, l := range loads(s.tenant.key) {
			for _, clients := range []int{1, 16, 64} {
				r := s.measure(l, clients)
				fmt.Fprintf(&report, "%-12s %8d %12.0f %9.2f %9.2f   %s\n", l.name, clients, r.perSecond, ms(r.p50), ms(r.p99), l.aims(clients))
				b.ReportMetric(r.perSecond, fmt.Sprintf("%s-%d/s", strings.ReplaceAll(l.name, " ", "-"), clients))
			}
		}
		s.countTrips(&report)
	}
	b.ReportMetric(0, "ns/op")
	fmt.Printf("\n%s", report.String()) // a benchmark's own log is cut short
}

func (l load) aims(clients int) string {
	switch {
	case clients != 16:
		return ""
	case l.aimedP99 > 0:
		return fmt.Sprintf(">= %d/s, p99 <= %.0f ms", l.aim, ms(l.aimedP99))
	}
	return fmt.Sprintf(">= %d/s", l.aim)
}

func ms(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }

type result struct {
	perSecond float64
	p50, p99  time.Duration
}

// measure lets so many clients ask as fast as they are answered.
func (s *system) measure(l load, clients int) result {
	s.Helper()
	const warm, lasts = 500 * time.Millisecond, 3 * time.Second
	var (
		asking sync.WaitGroup
		mu     sync.Mutex
		took   []time.Duration // guarded by mu
	)
	began := time.Now()
	for range clients {
		asking.Go(func() {
			var mine []time.Duration
			for {
				start := time.Now()
				if start.Sub(began) > warm+lasts {
					break
				}
				if a := s.listener.ask(l.next()); a.status != l.successes {
					s.Errorf("%s: %d %s", l.name, a.status, a.body)
					break
				}
				if start.Sub(began) > warm {
					mine = append(mine, time.Since(start))
				}
			}
			mu.Lock()
			defer mu.Unlock()
			took = append(took, mine...)
		})
	}
	asking.Wait()
	if len(took) == 0 {
		s.Fatalf("%s: nothing was answered", l.name)
	}
	slices.Sort(took)
	return result{float64(len(took)) / lasts.Seconds(), took[len(took)/2], took[len(took)*99/100]}
}

// countTrips counts, at a listener with one connection, how often a request
// waits for the database.
func (s *system) countTrips(report *strings.Builder) {
	s.Helper()
	const sessions = 50
	w := s.newWire()
	counted := *s.listener
	counted.address = s.newListener("DATABASE_URL="+w.url, "DATABASE_MAX_OPEN=1").address
	counted.want(http.StatusOK, request{path: "/api/sessions/one", key: s.tenant.key}) // warms the key and the connection
	for _, step := range []struct {
		name, method, path string
		status             int
	}{
		{"POST start, new", "POST", "/start", http.StatusCreated},
		{"GET session", "GET", "", http.StatusOK},
		{"POST start, refused", "POST", "/start", http.StatusConflict},
		{"POST stop", "POST", "/stop", http.StatusOK},
		{"POST start, again", "POST", "/start", http.StatusOK},
		{"POST restart", "POST", "/restart", http.StatusOK},
		{"DELETE session", "DELETE", "", http.StatusOK},
	} {
		trips, transactions := w.trips.Load(), w.transactions.Load()
		for i := range sessions {
			counted.want(step.status, request{method: step.method, path: fmt.Sprintf("/api/sessions/counted%d%s", i, step.path), key: s.tenant.key})
		}
		fmt.Fprintf(report, "%-20s %.2f round trips to the database, of which %.2f begin a transaction\n", step.name,
			float64(w.trips.Load()-trips)/sessions, float64(w.transactions.Load()-transactions)/sessions)
	}
	fmt.Fprintf(report, "aim: at most 2 for a GET and for a start of a new session\n")
}
