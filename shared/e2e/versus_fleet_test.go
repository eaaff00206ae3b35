package e2e

import (
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/wafleet/wafleet/shared/e2e/compare"
	"github.com/wafleet/wafleet/shared/session"
	"github.com/wafleet/wafleet/shared/store"
	"github.com/wafleet/wafleet/shared/wasim"
)

// claims: how fast three connectors empty a queue of start jobs, claims only.
func claims(t *testing.T, m *match) {
	const jobs, connectors, batch = 10_000, 3, 200
	s := newSystem(t, options{measured: true})
	plant(s, jobs)
	var rates []float64
	for range m.rounds {
		s.exec(`INSERT INTO start_job (session_id, available_at) SELECT id, now() - interval '1 minute' FROM session ON CONFLICT DO NOTHING`)
		s.exec(`UPDATE session_run SET holder = NULL`)
		var claimed atomic.Int64
		var wg sync.WaitGroup
		began := time.Now()
		for i := range connectors {
			me := session.NewConnectorID(fmt.Sprint("bench", i))
			if err := s.store.Register(t.Context(), store.Connector{ID: me, Address: "-", Slots: jobs, Version: "-"}, time.Minute); err != nil {
				t.Fatal(err)
			}
			wg.Go(func() {
				for claimed.Load() < jobs && t.Context().Err() == nil {
					claims, err := s.store.ClaimIfFree(t.Context(), me, batch, 0, batch)
					if err != nil {
						t.Error(err)
						return
					}
					claimed.Add(int64(len(claims)))
				}
			})
		}
		wg.Wait()
		rates = append(rates, jobs/time.Since(began).Seconds())
	}
	m.table.Add("claims of 10,000 jobs by 3 connectors", "1/s", nil, rates, compare.AtLeast(5000))
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

// largeFleet: 5,000 sessions on one connector that is idle for five minutes, and
// 9,000 on three that start again together.
func largeFleet(t *testing.T, m *match) {
	const one, three, idleFor = 5000, 9000, 5 * time.Minute
	s := newSystem(t, options{measured: true})
	c := s.connector(unpaced...)
	pairMany(s, one)
	m.say("%d paired", one)
	c.endWithin(2 * time.Minute)

	began := time.Now()
	c = s.launchPlain(unpaced...)
	pid := c.cmd.Process.Pid
	s.eventuallyWithin(2*time.Minute, "all WORKING", func() bool { return s.working() == one })
	m.table.Add("restart of 5,000 sessions", "s", nil, []float64{time.Since(began).Seconds()}, compare.None)
	s.pass(m.settle)
	before, logins := busy(s, pid), len(s.loginTimes())
	s.pass(idleFor)
	cpu := 100 * float64(busy(s, pid)-before) / float64(idleFor)
	m.table.Add("RSS of a connector with 5,000 sessions", "MB", nil, []float64{float64(rss(s, pid)) / 1024}, compare.AtMost(800))
	m.table.Add("CPU of 5,000 idle sessions", "% of a core", nil, []float64{cpu}, compare.AtMost(4.9))
	m.table.Add("reconnects of 5,000 sessions in 5 minutes", "", nil, []float64{float64(len(s.loginTimes()) - logins)}, compare.AtMost(0))
	m.table.Add("of 5,000 sessions not WORKING after 5 minutes", "", nil, []float64{float64(one - s.working())}, compare.AtMost(0))

	pairMore(s, one, three, quietStart)
	m.say("%d paired", three)
	c.endWithin(2 * time.Minute)
	began = time.Now()
	fleet := make([]*process, 3)
	for i := range fleet {
		fleet[i] = s.launchPlain(unpaced...)
	}
	s.eventuallyWithin(3*time.Minute, "all WORKING", func() bool { return s.working() == three })
	m.table.Add("restart of 9,000 sessions on 3 connectors", "s", nil, []float64{time.Since(began).Seconds()}, compare.None)
	if n := s.sim.Stats().MaxSocketsPerDevice; n != 1 {
		t.Errorf("%d sockets of one device", n)
	}
	for _, c := range fleet {
		c.endWithin(2 * time.Minute)
	}
}

// loginTimes are when the simulator saw devices log in.
func (s *system) loginTimes() (at []time.Time) {
	for _, e := range s.sim.Events() {
		if e.Kind == wasim.EventLogin {
			at = append(at, e.Time)
		}
	}
	return at
}

// statementCounts shows what TestStatementsPerOperation holds.
func statementCounts(t *testing.T, m *match) {
	counted, idle := countOperations(t)
	for _, o := range counted {
		m.table.Add("statements: "+o.name, "", nil, []float64{float64(len(o.statement))}, compare.AtMost(float64(o.limit)))
	}
	m.table.Add("statements: an idle connector", "1/s", nil, []float64{idle}, compare.AtMost(2))
}
