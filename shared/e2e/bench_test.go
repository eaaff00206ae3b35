package e2e

import (
	"context"
	"database/sql"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/wafleet/wafleet/shared/session"
	"github.com/wafleet/wafleet/shared/store"
)

// Each benchmark is one measurement of fixed size; run them with -benchtime 1x.

// BenchmarkStartToQR measures what a client waits for: from the start request
// until it has read the QR code, one session at a time, through HTTP, Postgres,
// a connector and the simulator.
func BenchmarkStartToQR(b *testing.B) {
	const sessions = 200
	s := newSystem(b, options{measured: true})
	s.connector("SLOTS=1000", "LOG_LEVEL=WARN")
	s.start("warm-up", postgresStart)
	s.qr("warm-up")
	for b.Loop() {
		took := make([]time.Duration, sessions)
		for i := range took {
			name := "s" + session.NewID()[24:]
			began := time.Now()
			s.start(string(name), postgresStart)
			s.want(200, "GET", "/api/"+string(name)+"/auth/qr?format=raw", "")
			took[i] = time.Since(began)
		}
		slices.Sort(took)
		b.ReportMetric(milliseconds(took[sessions/2]), "p50-ms")
		b.ReportMetric(milliseconds(took[sessions*99/100]), "p99-ms")
	}
	b.ReportMetric(0, "ns/op")
}

func milliseconds(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }

// BenchmarkClaim measures how fast three connectors empty a queue of 10,000
// start jobs, claims only.
func BenchmarkClaim(b *testing.B) {
	const jobs, connectors, batch = 10_000, 3, 200
	s := newSystem(b, options{measured: true})
	plant(s, jobs)
	for b.Loop() {
		s.exec(`INSERT INTO start_job (session_id, available_at) SELECT id, now() - interval '1 minute' FROM session ON CONFLICT DO NOTHING`)
		s.exec(`UPDATE session_run SET holder = NULL`)
		var claimed atomic.Int64
		var wg sync.WaitGroup
		began := time.Now()
		for i := range connectors {
			me := session.NewConnectorID(fmt.Sprint("bench", i))
			if err := s.store.Register(b.Context(), store.Connector{ID: me, Address: "-", Slots: jobs, Version: "-"}, time.Minute); err != nil {
				b.Fatal(err)
			}
			wg.Go(func() {
				for claimed.Load() < jobs && b.Context().Err() == nil {
					claims, err := s.store.ClaimIfFree(b.Context(), me, batch, 0, batch)
					if err != nil {
						b.Error(err)
						return
					}
					claimed.Add(int64(len(claims)))
				}
			})
		}
		wg.Wait()
		b.ReportMetric(jobs/time.Since(began).Seconds(), "claims/s")
	}
	b.ReportMetric(0, "ns/op")
}

// plant records wanted sessions that nobody holds.
func plant(s *system, n int) {
	s.Helper()
	s.exec(`INSERT INTO session (id, tenant_id, name, desired, config)
		SELECT gen_random_uuid(), $1, 's' || i, 'running', '{"store":{"dialect":"postgres","address":"/app/data/whatsmeow.db"},"log":{"level":"INFO"}}'
		FROM generate_series(1, $2::int) i`, s.tenantID(), n)
	s.exec(`INSERT INTO session_run (session_id) SELECT id FROM session`)
	s.exec(`INSERT INTO pairing (session_id) SELECT id FROM session`)
	s.exec(`ANALYZE`)
}

func (s *system) exec(query string, args ...any) {
	s.Helper()
	db, err := sql.Open("postgres", s.writtenBy(theTest, s.url))
	if err != nil {
		s.Fatal(err)
	}
	defer db.Close()
	if _, err := db.ExecContext(context.WithoutCancel(s.Context()), query, args...); err != nil {
		s.Fatal(err)
	}
}

// BenchmarkMemoryPerSession measures the connector's resident memory over its
// empty process, divided by 500 idle WORKING sessions on the postgres store:
// after a restart, which is how sessions usually come to a process.
func BenchmarkMemoryPerSession(b *testing.B) {
	const sessions = 500
	s := newSystem(b, options{measured: true})
	env := []string{"LOG_LEVEL=WARN", "SLOTS=1000"}
	for b.Loop() {
		c := s.connector(env...)
		empty := rss(b, c)
		pairMany(s, sessions)
		settle()
		b.ReportMetric(float64(rss(b, c)-empty)/sessions, "KB/session-after-pairing")
		c.end()
		c = s.connector(env...)
		empty = rss(b, c)
		began := time.Now()
		s.allWorking(sessions)
		b.ReportMetric(time.Since(began).Seconds(), "s-restart-of-all")
		settle()
		b.ReportMetric(float64(rss(b, c)-empty)/sessions, "KB/session")
		b.ReportMetric(float64(empty)/1024, "MB-empty-process")
	}
	b.ReportMetric(0, "ns/op")
}

// settle gives the sessions time to become idle: it is part of what is
// measured, not a way to wait for something.
func settle() { time.Sleep(10 * time.Second) }

// quietStart is for figures: a session's own log level counts, not that of its
// connector.
const quietStart = `{"config":{"store":{"dialect":"postgres"},"log":{"level":"WARN"}}}`

// pairMany pairs sessions s1..sn, some at a time.
func pairMany(s *system, n int) {
	s.Helper()
	slots := make(chan struct{}, 16)
	var wg sync.WaitGroup
	for i := range n {
		slots <- struct{}{}
		wg.Go(func() {
			defer func() { <-slots }()
			name := fmt.Sprint("s", i+1)
			s.start(name, quietStart)
			number := fmt.Sprint(5511900000000 + i)
			s.secret(number)
			if _, err := s.sim.Scan(number, s.qr(name)); err != nil {
				s.Error(err)
			}
		})
	}
	wg.Wait()
	s.allWorking(n)
}

func (s *system) allWorking(n int) {
	s.Helper()
	s.eventually(fmt.Sprint(n, " sessions WORKING"), func() bool {
		return s.rows(`SELECT count(*) FROM session_run WHERE state = 'WORKING' AND holder IN (SELECT id FROM connector WHERE lease_until > now())`) == n
	})
}

// rss is a process's resident memory in KB.
func rss(b *testing.B, p *process) int {
	b.Helper()
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.cmd.Process.Pid))
	if err != nil {
		b.Skip("resident memory can be read on Linux only")
	}
	for _, line := range strings.Split(string(status), "\n") {
		if rest, ok := strings.CutPrefix(line, "VmRSS:"); ok {
			kb, err := strconv.Atoi(strings.TrimSpace(strings.TrimSuffix(rest, "kB")))
			if err != nil {
				b.Fatal(err)
			}
			return kb
		}
	}
	b.Fatal("no VmRSS")
	return 0
}
