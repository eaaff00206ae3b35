package main

import (
	"log/slog"
	"strconv"
	"sync"
	"time"

	"github.com/wafleet/wafleet/shared/telemetry"
)

// metrics of the API under Lambda: one line in the log per request, written
// before the answer leaves, because the process may be frozen after it. With
// -listen there are none: the client library of Prometheus would be in the
// Lambda's binary too, and the access log says the same.
//
// Requests are counted by class of status, and their time by route; both at once
// are in the access log. CloudWatch is paid by the combination.
type metrics struct {
	out  *telemetry.MetricWriter
	wait func() time.Duration // for connections, so far
	log  *slog.Logger

	mu     sync.Mutex
	hints  struct{ sent, failed, skipped int } // guarded by mu; since the last line
	warm   bool                                // guarded by mu; a request was answered
	waited time.Duration                       // guarded by mu; for connections, until the last line
}

func (m *metrics) HintSent() { m.count(&m.hints.sent) }

func (m *metrics) HintFailed() { m.count(&m.hints.failed) }

func (m *metrics) HintSkipped() { m.count(&m.hints.skipped) }

func (m *metrics) count(n *int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	*n++
}

// Answered writes the line of a request.
func (m *metrics) Answered(route string, status int, took time.Duration) {
	m.mu.Lock()
	defer m.mu.Unlock()
	waited := m.wait()
	rest := []telemetry.Metric{
		counted("wafleet_api_errors_total", oneIf(status >= 500)),
		{Name: "wafleet_api_database_wait_seconds", Unit: "Seconds", Value: (waited - m.waited).Seconds()},
	}
	for name, n := range map[string]int{
		"wafleet_api_cold_starts_total": oneIf(!m.warm), "wafleet_api_start_hints_sent_total": m.hints.sent,
		"wafleet_api_start_hints_failed_total": m.hints.failed, "wafleet_api_start_hints_skipped_total": m.hints.skipped,
	} {
		if n > 0 { // a sum of none is 0 all the same
			rest = append(rest, counted(name, n))
		}
	}
	m.waited, m.warm = waited, true
	m.hints.sent, m.hints.failed, m.hints.skipped = 0, 0, 0
	err := m.out.Write(time.Now(), map[string]string{"route": route, "class": strconv.Itoa(status/100) + "xx"},
		telemetry.Series{Metrics: rest},
		telemetry.Series{By: []string{"class"}, Metrics: []telemetry.Metric{counted("wafleet_api_requests_total", 1)}},
		telemetry.Series{By: []string{"route"}, Metrics: []telemetry.Metric{{Name: "wafleet_api_request_seconds", Unit: "Seconds", Value: took.Seconds()}}},
	)
	if err != nil {
		m.log.Warn("metrics are lost", "error", err.Error())
	}
}

func counted(name string, n int) telemetry.Metric {
	return telemetry.Metric{Name: name, Unit: "Count", Value: float64(n)}
}

func oneIf(yes bool) int {
	if yes {
		return 1
	}
	return 0
}
