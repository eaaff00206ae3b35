// Package metrics counts what the connector does, for Prometheus. It satisfies
// the small observer interfaces of its siblings and knows none of them.
package metrics

import (
	"net/http"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/wafleet/wafleet/shared/session"
)

// Metrics of one connector process.
type Metrics struct {
	registry   *prometheus.Registry
	claims     prometheus.Counter
	releases   *prometheus.CounterVec
	fences     prometheus.Counter
	reconnects *prometheus.CounterVec
	streams    prometheus.Counter
	illegal    prometheus.Counter
	panics     prometheus.Counter
	leasesLost prometheus.Counter
}

// New returns metrics with a registry of their own. Gauges are read when they
// are scraped: held sessions, slots, and for how many seconds the lease is
// trusted.
func New(held, slots func() int, trustSeconds func() float64) *Metrics {
	m := &Metrics{
		registry:   prometheus.NewRegistry(),
		claims:     counter("claims_total", "Sessions claimed."),
		releases:   vector("releases_total", "Sessions given back, by the reason of their state.", "reason"),
		fences:     counter("fences_total", "Terms that turned out to be over."),
		reconnects: vector("reconnects_total", "Connections that were lost or could not be made, by reason.", "reason"),
		streams:    counter("stream_errors_total", "Stream errors of WhatsApp that have no meaning of their own."),
		illegal:    counter("illegal_transitions_total", "Moves that the transition table forbids. Any is a bug."),
		panics:     counter("session_panics_total", "Sessions ended by a panic."),
		leasesLost: counter("leases_lost_total", "Leases that passed while the process ran."),
	}
	m.registry.MustRegister(
		collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
		m.claims, m.releases, m.fences, m.reconnects, m.streams, m.illegal, m.panics, m.leasesLost,
		gauge("sessions_held", "Sessions held.", func() float64 { return float64(held()) }),
		gauge("slots", "Sessions that could be held.", func() float64 { return float64(slots()) }),
		gauge("lease_trust_seconds", "How long the process may act if no heartbeat succeeds; negative once it may not.", trustSeconds),
	)
	return m
}

const namespace = "wafleet_connector"

func counter(name, help string) prometheus.Counter {
	return prometheus.NewCounter(prometheus.CounterOpts{Namespace: namespace, Name: name, Help: help})
}

func vector(name, help string, labels ...string) *prometheus.CounterVec {
	return prometheus.NewCounterVec(prometheus.CounterOpts{Namespace: namespace, Name: name, Help: help}, labels)
}

func gauge(name, help string, read func() float64) prometheus.Collector {
	return prometheus.NewGaugeFunc(prometheus.GaugeOpts{Namespace: namespace, Name: name, Help: help}, read)
}

// Handler serves the metrics.
func (m *Metrics) Handler() http.Handler {
	return promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{})
}

// Claimed counts claims.
func (m *Metrics) Claimed(n int) { m.claims.Add(float64(n)) }

// Released counts a session given back.
func (m *Metrics) Released(code session.ReasonCode) { m.releases.WithLabelValues(label(code)).Inc() }

// Fenced counts a term that was over.
func (m *Metrics) Fenced() { m.fences.Inc() }

// Reconnect counts a lost connection.
func (m *Metrics) Reconnect(code session.ReasonCode) { m.reconnects.WithLabelValues(label(code)).Inc() }

// StreamError counts a stream error without a meaning of its own.
func (m *Metrics) StreamError() { m.streams.Inc() }

// IllegalTransition counts a bug.
func (m *Metrics) IllegalTransition() { m.illegal.Inc() }

// Panic counts a bug.
func (m *Metrics) Panic() { m.panics.Inc() }

// LeaseLost counts a lost lease.
func (m *Metrics) LeaseLost() { m.leasesLost.Inc() }

// label bounds the values: codes with a number of WhatsApp's share one.
func label(code session.ReasonCode) string {
	if code == "" {
		return "none"
	}
	return string(session.Family(code))
}
