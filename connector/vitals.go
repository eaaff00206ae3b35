package main

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"github.com/wafleet/wafleet/connector/metrics"
	"github.com/wafleet/wafleet/shared/backoff"
	"github.com/wafleet/wafleet/shared/session"
	"github.com/wafleet/wafleet/shared/store"
)

// gauges read whatever lease the process holds at the moment.
func (p *process) gauges() metrics.Gauges {
	return metrics.Gauges{
		Held:         whileHolding(p, func(h *holding) int { return h.supervisor.Held() }),
		Pairing:      whileHolding(p, func(h *holding) int { return h.supervisor.Pairing() }),
		Slots:        func() int { return p.config.Slots },
		TrustSeconds: whileHolding(p, func(h *holding) float64 { return h.trust.Left().Seconds() }),
		BeatSeconds:  whileHolding(p, func(h *holding) float64 { return h.trust.BeatAge().Seconds() }),
	}
}

// whileHolding is zero until the process holds its first lease.
func whileHolding[T any](p *process, read func(*holding) T) func() T {
	return func() (value T) {
		if h := p.holding.Load(); h != nil {
			value = read(h)
		}
		return value
	}
}

// heartbeat is the store of a lease; each beat also tells the vitals of what is
// held through it, and the guardian hears which lease there is to end.
type heartbeat struct {
	*store.Store
	guardian guardian
	vitals   func() store.Vitals
}

// Register tells the guardian first: the answer may be lost after the row was
// written.
func (h heartbeat) Register(ctx context.Context, c store.Connector, ttl time.Duration) error {
	h.guardian.tell(c.ID)
	return h.Store.Register(ctx, c, ttl)
}

// EndLease leaves the guardian nothing to do.
func (h heartbeat) EndLease(ctx context.Context, id session.ConnectorID) error {
	err := h.Store.EndLease(ctx, id)
	if err == nil {
		h.guardian.tell("")
	}
	return err
}

// RenewHeld hides the store's, which wants the vitals too.
func (h heartbeat) RenewHeld(ctx context.Context, id session.ConnectorID, ttl time.Duration) error {
	return h.Store.RenewHeld(ctx, id, ttl, h.vitals())
}

// fleetPause is how often the fleet is counted. A count looks at every session.
const fleetPause = 15 * time.Second

// watchFleet counts the fleet for its metrics, in one connector for all.
func (p *process) watchFleet(ctx context.Context, me session.ConnectorID, log *slog.Logger) {
	for ctx.Err() == nil {
		status, err := p.control.FleetStatusIfFirst(ctx, me)
		switch {
		case err == nil:
			p.metrics.SetFleet(&status)
			if status.OutdatedShare() > store.OutdatedAlarm {
				log.Error("WhatsApp refuses this client version: update wafleet, or set WHATSAPP_VERSION",
					"sessions", status.Outdated, "of", status.Running, "version", p.devices.Versions().Current())
			}
		case errors.Is(err, session.ErrNotFound):
			p.metrics.SetFleet(nil)
		case ctx.Err() == nil:
			p.metrics.SetFleet(nil)
			log.Warn("the fleet could not be counted", "error", err.Error())
		}
		wait(ctx, backoff.Jitter(fleetPause))
	}
	p.metrics.SetFleet(nil)
}
