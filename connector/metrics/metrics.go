// Package metrics counts what the connector does, for Prometheus. It satisfies
// the small observer interfaces of its siblings and knows none of them.
package metrics

import (
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/wafleet/wafleet/shared/session"
	"github.com/wafleet/wafleet/shared/store"
)

// Metrics of one connector process.
type Metrics struct {
	registry   *prometheus.Registry
	claims     prometheus.Counter
	claimWait  *prometheus.HistogramVec
	receives   prometheus.Counter
	received   *prometheus.CounterVec
	queueFails *prometheus.CounterVec
	releases   *prometheus.CounterVec
	handovers  *prometheus.CounterVec
	fences     prometheus.Counter
	reconnects *prometheus.CounterVec
	streams    prometheus.Counter
	illegal    prometheus.Counter
	panics     prometheus.Counter
	leasesLost prometheus.Counter
	drains     prometheus.Counter
	fleet      fleet
}

// Gauges are asked at every scrape.
type Gauges struct {
	Held, Slots, Pairing func() int // sessions held, at most, and waiting for a phone
	// TrustSeconds is how long the process may still act, BeatSeconds how long ago
	// the last heartbeat was sent that succeeded.
	TrustSeconds, BeatSeconds func() float64
}

// New returns metrics with a registry of their own.
func New(g Gauges) *Metrics {
	m := &Metrics{
		registry: prometheus.NewRegistry(),
		claims:   counter("claims_total", "Sessions claimed."),
		claimWait: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Namespace: namespace, Name: "claim_wait_seconds",
			Help:    "How long start jobs waited for their claim, by what led to it: queue, notify (a hint of the database) or poll.",
			Buckets: []float64{.005, .01, .02, .05, .1, .2, .5, 1, 2, 5, 15, 60},
		}, []string{"by"}),
		receives:   counter("queue_receives_total", "Calls that received start hints, or waited for some in vain."),
		received:   vector("queue_messages_total", "Messages received, by what became of them: deleted, returned (for another connector) or poison.", "fate"),
		queueFails: vector("queue_errors_total", "Calls of the queue that failed: receive, delete or return.", "call"),
		releases:   vector("releases_total", "Sessions given back, by the reason of their state.", "reason"),
		handovers:  vector("handovers_total", "Sessions given back that users still want, by why: drain, rebalance or config.", "why"),
		fences:     counter("fences_total", "Terms that turned out to be over."),
		reconnects: vector("reconnects_total", "Connections that were lost or could not be made, by reason.", "reason"),
		streams:    counter("stream_errors_total", "Stream errors of WhatsApp that have no meaning of their own."),
		illegal:    counter("illegal_transitions_total", "Moves that the transition table forbids. Any is a bug."),
		panics:     counter("session_panics_total", "Sessions ended by a panic."),
		drains:     counter("drains_total", "Drains begun."),
		leasesLost: counter("leases_lost_total", "Leases that passed while the process ran."),
	}
	m.registry.MustRegister(
		collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
		m.claims, m.claimWait, m.receives, m.received, m.queueFails, m.releases, m.handovers, m.fences, m.reconnects, m.streams, m.illegal, m.panics, m.drains, m.leasesLost,
		&m.fleet,
		gauge("sessions_held", "Sessions held.", g.Held),
		gauge("sessions_pairing", "Sessions that wait for a phone, or have just been linked.", g.Pairing),
		gauge("slots", "Sessions that could be held.", g.Slots),
		gauge("lease_trust_seconds", "How long the process may act if no heartbeat succeeds; negative once it may not.", g.TrustSeconds),
		gauge("lease_beat_age_seconds", "How long ago the last heartbeat was sent that succeeded.", g.BeatSeconds),
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

func gauge[N int | float64](name, help string, read func() N) prometheus.Collector {
	return prometheus.NewGaugeFunc(prometheus.GaugeOpts{Namespace: namespace, Name: name, Help: help}, func() float64 { return float64(read()) })
}

// Handler serves the metrics.
func (m *Metrics) Handler() http.Handler {
	return promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{})
}

// Claimed counts a claim, by what led to it, and how long its job waited.
func (m *Metrics) Claimed(by string, waited time.Duration) {
	m.claims.Inc()
	m.claimWait.WithLabelValues(by).Observe(waited.Seconds())
}

// QueueReceived counts a call for start hints that succeeded.
func (m *Metrics) QueueReceived(int) { m.receives.Inc() }

// QueueMessages counts messages by what became of them.
func (m *Metrics) QueueMessages(fate string, n int) { m.received.WithLabelValues(fate).Add(float64(n)) }

// QueueFailed counts a call that failed.
func (m *Metrics) QueueFailed(call string) { m.queueFails.WithLabelValues(call).Inc() }

// Released counts a session given back.
func (m *Metrics) Released(code session.ReasonCode) { m.releases.WithLabelValues(label(code)).Inc() }

// HandedOver counts a session given to another connector.
func (m *Metrics) HandedOver(why string) { m.handovers.WithLabelValues(why).Inc() }

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

// Draining counts the begin of a drain.
func (m *Metrics) Draining() { m.drains.Inc() }

// SetFleet takes what was counted of the whole fleet, or nil where another
// connector counts.
func (m *Metrics) SetFleet(status *store.FleetStatus) { m.fleet.status.Store(status) }

// LeaseLost counts a lost lease.
func (m *Metrics) LeaseLost() { m.leasesLost.Inc() }

// label bounds the values: codes with a number of WhatsApp's share one.
func label(code session.ReasonCode) string {
	if code == "" {
		return "none"
	}
	return string(session.Family(code))
}
