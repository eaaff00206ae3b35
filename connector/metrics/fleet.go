package metrics

import (
	"sync/atomic"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/wafleet/wafleet/shared/store"
)

// fleet is metrics of the whole fleet. One connector counts for all and only it
// has them, so that a sum over the connectors is right. The sweep publishes the
// same under the same names.
type fleet struct {
	status atomic.Pointer[store.FleetStatus]
}

type fleetMetric struct {
	desc *prometheus.Desc
	of   func(store.FleetStatus) float64
}

var fleetMetrics = []fleetMetric{
	fleetGauge("sessions_wanted", "Sessions that should be running now.", func(f store.FleetStatus) float64 { return float64(f.Wanted) }),
	fleetGauge("sessions_unplaced", "Of the wanted, those that no live connector holds.", func(f store.FleetStatus) float64 { return float64(f.Unplaced) }),
	fleetGauge("oldest_job_seconds", "How long the first of the unplaced has waited.", func(f store.FleetStatus) float64 { return f.OldestJob.Seconds() }),
	fleetGauge("connectors_alive", "Connectors whose lease has not passed.", func(f store.FleetStatus) float64 { return float64(f.Alive) }),
	fleetGauge("slots", "Slots of the connectors that claim.", func(f store.FleetStatus) float64 { return float64(f.Slots) }),
	fleetGauge("slots_free", "Of these, those that are not taken.", func(f store.FleetStatus) float64 { return float64(f.SlotsFree) }),
	fleetGauge("sessions_failed", "Sessions that should be running and gave up, but for want of a phone that scans.", func(f store.FleetStatus) float64 { return float64(f.Failed) }),
	fleetGauge("client_outdated_share", "Share of the sessions whose client version WhatsApp refuses, from 0 to 1.", store.FleetStatus.OutdatedShare),
}

func fleetGauge(name, help string, of func(store.FleetStatus) float64) fleetMetric {
	return fleetMetric{prometheus.NewDesc("wafleet_fleet_"+name, help, nil, nil), of}
}

func (f *fleet) Describe(out chan<- *prometheus.Desc) {
	for _, m := range fleetMetrics {
		out <- m.desc
	}
}

func (f *fleet) Collect(out chan<- prometheus.Metric) {
	status := f.status.Load()
	if status == nil {
		return
	}
	for _, m := range fleetMetrics {
		out <- prometheus.MustNewConstMetric(m.desc, prometheus.GaugeValue, m.of(*status))
	}
}
