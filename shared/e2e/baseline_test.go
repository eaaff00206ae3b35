package e2e

import (
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/wafleet/wafleet/shared/e2e/bootstrap"
	"github.com/wafleet/wafleet/shared/session"
	"github.com/wafleet/wafleet/shared/wasim"
)

// TestEverythingReturnsToItsBaseline starts and stops many sessions on one
// connector, on both kinds of device store, some of them linked. What the first
// round left open is the baseline: each further round would add to a leak. It
// does not run beside other tests, which it would slow down.
func TestEverythingReturnsToItsBaseline(t *testing.T) {
	sessions, round := 2000, 250
	if testing.Short() || bootstrap.Race() {
		sessions, round = 160, 40
	}
	s := newSystem(t, options{sim: &wasim.Server{QRTimeout: time.Hour}})
	c := s.connector("LOG_LEVEL=INFO", "QR_FIRST=10m", "QR_NEXT=10m")
	r := rounds{system: s}
	r.round(round)
	before := s.restingUse(c)
	began := time.Now()
	for done := 0; done < sessions; done += round {
		r.round(round)
	}
	took := time.Since(began)
	after := s.restingUse(c)
	defer func() {
		t.Logf("%d sessions started and stopped in %s\nbefore: %v\nafter:  %v", sessions, seconds(took), before, after)
	}()
	s.eventually("the return to the baseline", func() bool {
		after = s.use(c)
		return after.within(before)
	})
}

// rounds starts and stops sessions that were never there before.
type rounds struct {
	*system
	sessions int
}

// Of so many sessions two are linked, one on each kind of device store.
const linkedTwoOf = 20

// round starts n sessions, half of them on each kind of device store, until each
// waits for a scan or works; then it stops them all.
func (r *rounds) round(n int) {
	r.Helper()
	names := make([]string, n)
	for i := range names {
		r.sessions++
		names[i] = fmt.Sprint("s", r.sessions)
	}
	var linked atomic.Int64
	each(names, func(i int, name string) {
		r.start(name, []string{quietStart, documentedStart}[i%2])
		if i%linkedTwoOf >= 2 {
			return
		}
		linked.Add(1)
		r.wait(name, session.ScanQRCode) // the request for a code would wait for 5 s only
		code := r.want(200, "GET", "/api/"+name+"/auth/qr?format=raw", "").text("value")
		if _, err := r.sim.Scan("55119"+fmt.Sprintf("%08s", name[1:]), code); err != nil {
			r.Errorf("scan %s: %v", name, err)
		}
	})
	r.eventually("all logged in or waiting for a scan", func() bool {
		return r.sim.Stats().Authed == int(linked.Load()) && r.sim.Stats().Open == n && r.inState(session.Working) == int(linked.Load()) &&
			r.inState(session.ScanQRCode) == n-int(linked.Load())
	})
	each(names, func(_ int, name string) { r.stop(name) })
	r.eventually("all stopped", func() bool {
		return r.sim.Stats().Open == 0 && r.inState(session.Stopped) == r.sessions &&
			r.rows(`SELECT count(*) FROM session_run WHERE holder IS NOT NULL`) == 0
	})
}

func (s *system) inState(status session.Status) int {
	s.Helper()
	return s.rows(`SELECT count(*) FROM session_run WHERE state = '` + string(status) + `'`)
}

// each does something for every name, some at a time.
func each(names []string, do func(i int, name string)) {
	slots := make(chan struct{}, 32)
	var doing sync.WaitGroup
	for i, name := range names {
		slots <- struct{}{}
		doing.Go(func() {
			defer func() { <-slots }()
			do(i, name)
		})
	}
	doing.Wait()
}

// use is what connectors have open.
type use struct {
	connectors              int
	goroutines, files, heap int // of the processes; files without database, heap in bytes
	database                int // connections to Postgres
	sockets, held           int
}

// Slack of within, for each connector: a request under way, and caches of fixed
// size. A leak of one goroutine or file per session is above it, in full size one
// of a kilobyte too. Connections to Postgres are pooled: their baseline is the
// default of DATABASE_MAX_CONNS.
const (
	slackCount  = 4
	slackHeap   = 1 << 20
	maxDatabase = 12
)

// within compares with one connector.
func (u use) within(base use) bool {
	return u.heap <= u.connectors*(base.heap+slackHeap) && u.openWithin(base)
}

// openWithin is within without memory, which grows to what a process once needed.
func (u use) openWithin(base use) bool {
	return u.goroutines <= u.connectors*(base.goroutines+slackCount) && u.files <= u.connectors*(base.files+slackCount) &&
		u.database <= u.connectors*maxDatabase && u.sockets == 0 && u.held == 0
}

func (u use) String() string {
	return fmt.Sprintf("%d connectors with %d goroutines, %d files, %.1f MB of heap, %d connections to Postgres, %d sockets, %d sessions held",
		u.connectors, u.goroutines, u.files, float64(u.heap)/(1<<20), u.database, u.sockets, u.held)
}

// restingUse is the use after the garbage of all that went before is collected:
// twice, because pools and finalizers survive one collection.
func (s *system) restingUse(c *process) use {
	s.Helper()
	const collections = "go_gc_duration_seconds_count"
	enough := c.metrics()[collections] + 2
	s.eventually("two collections", func() bool { return c.metrics()[collections] >= enough })
	return s.use(c)
}

// use is what connectors have open, which are all that run.
func (s *system) use(connectors ...*process) use {
	s.Helper()
	u := use{connectors: len(connectors), sockets: s.sim.Stats().Open}
	for _, c := range connectors {
		m := c.metrics()
		u.goroutines += int(m["go_goroutines"])
		u.files += int(m["process_open_fds"])
		u.heap += int(m["go_memstats_heap_alloc_bytes"])
		u.held += int(m["wafleet_connector_sessions_held"])
	}
	u.database = s.rows(`SELECT count(*) FROM pg_stat_activity
		WHERE datname = current_database() AND application_name ~ '^wafleet-(heartbeat|connector|devices)'`)
	u.files -= u.database
	return u
}

// metrics reads the connector's own numbers, those without labels.
func (p *process) metrics() map[string]float64 {
	p.Helper()
	values := map[string]float64{}
	for line := range strings.Lines(string(p.private("/metrics"))) {
		name, text, _ := strings.Cut(strings.TrimSuffix(line, "\n"), " ")
		if value, err := strconv.ParseFloat(text, 64); err == nil {
			values[name] = value
		}
	}
	return values
}

// private returns what the connector answers on its private port.
func (p *process) private(path string) []byte {
	p.Helper()
	_, address := p.registered()
	response, err := http.Get("http://" + address + path)
	if err != nil {
		p.Fatal(err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		p.Fatal(err)
	}
	return body
}
