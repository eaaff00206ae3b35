package store

import (
	"context"
	"time"

	"github.com/wafleet/wafleet/shared/session"
)

// FleetStatus is how well the fleet serves what the users want.
type FleetStatus struct {
	Wanted    int           // sessions that need a connector now: to run, or to be unlinked or erased
	Held      int           // sessions that live connectors hold, also those still closing
	Unplaced  int           // of the wanted, those that no live connector holds
	OldestJob time.Duration // how long the first of the unplaced has had a start job; zero without one
	Alive     int           // connectors whose lease has not passed, also draining ones
	Slots     int           // of the live connectors that claim
	SlotsFree int           // of these, how many are not taken
	Running   int           // sessions that users want to run, also those that gave up
	Outdated  int           // of these, those whose client version WhatsApp refuses
	Failed    int           // of these, those that gave up, but for want of a phone that scans
}

// OutdatedAlarm is the share of refused client versions from which on it is the
// fleet's trouble, not a session's.
const OutdatedAlarm = 0.10

// OutdatedShare is how many of the running sessions are refused for their client
// version, from 0 to 1.
func (f FleetStatus) OutdatedShare() float64 { return float64(f.Outdated) / float64(max(1, f.Running)) }

// fleetStatus does not count as wanted who gave up, or waits for the end of a
// ban: they need no slot yet, and would scale the fleet for nothing.
const fleetStatus = `
WITH asked AS (
    SELECT WHERE $1 = '' OR $1 = (SELECT min(id) FROM connector WHERE lease_until > now() AND NOT draining)
), alive AS (
    SELECT c.id, c.slots, c.draining, (SELECT count(*) FROM session_run r WHERE r.holder = c.id) AS held
    FROM connector c WHERE c.lease_until > now()
), room AS (
    SELECT count(*) AS connectors, COALESCE(sum(held), 0)::bigint AS held,
        COALESCE(sum(slots) FILTER (WHERE NOT draining), 0)::bigint AS slots,
        COALESCE(sum(GREATEST(0, slots - held)) FILTER (WHERE NOT draining), 0)::bigint AS free
    FROM alive
), wanted AS (
    SELECT a.id IS NULL AS unplaced, j.available_at, r.reason_code IS NOT DISTINCT FROM 'CLIENT_OUTDATED' AS outdated,
        s.desired = 'running' AS running, r.state = 'FAILED' AND r.reason_code IS DISTINCT FROM 'QR_EXPIRED' AS failed,
        (s.deleted_at IS NOT NULL OR r.state <> 'FAILED' OR r.seen_generation < s.generation OR r.retry_at <= now())
        AND (a.id IS NOT NULL OR j.session_id IS NULL OR j.available_at <= now()) AS needs_slot
    FROM asked, session s
    JOIN session_run r ON r.session_id = s.id
    LEFT JOIN alive a ON a.id = r.holder
    LEFT JOIN start_job j ON j.session_id = s.id
    WHERE ` + wanted + `
), demand AS (
    SELECT count(*) FILTER (WHERE needs_slot) AS wanted, count(*) FILTER (WHERE needs_slot AND unplaced) AS unplaced,
        COALESCE(extract(epoch FROM now() - min(available_at) FILTER (WHERE needs_slot AND unplaced)), 0) AS oldest,
        count(*) FILTER (WHERE running) AS running, count(*) FILTER (WHERE running AND outdated) AS outdated,
        count(*) FILTER (WHERE running AND failed) AS failed
    FROM wanted
)
SELECT wanted, held, unplaced, oldest, connectors, slots, free, running, outdated, failed FROM demand, room, asked`

// FleetStatus counts, in one statement and so at one moment.
func (s *Store) FleetStatus(ctx context.Context) (FleetStatus, error) { return s.fleetStatus(ctx, "") }

// FleetStatusIfFirst counts for the first connector by id, and is
// session.ErrNotFound for all others: one count serves a whole fleet.
func (s *Store) FleetStatusIfFirst(ctx context.Context, me session.ConnectorID) (FleetStatus, error) {
	return s.fleetStatus(ctx, me)
}

func (s *Store) fleetStatus(ctx context.Context, asker session.ConnectorID) (FleetStatus, error) {
	var (
		f      FleetStatus
		oldest float64
	)
	err := s.db.QueryRowContext(ctx, fleetStatus, string(asker)).
		Scan(&f.Wanted, &f.Held, &f.Unplaced, &oldest, &f.Alive, &f.Slots, &f.SlotsFree, &f.Running, &f.Outdated, &f.Failed)
	f.OldestJob = time.Duration(oldest * float64(time.Second))
	return f, domain("count the fleet", err)
}

const outdatedShare = `
SELECT count(*) FILTER (WHERE r.reason_code = 'CLIENT_OUTDATED'), count(*)
FROM session s JOIN session_run r ON r.session_id = s.id WHERE s.desired = 'running'`

// OutdatedShare is FleetStatus.OutdatedShare alone.
func (s *Store) OutdatedShare(ctx context.Context) (float64, error) {
	var f FleetStatus
	err := s.db.QueryRowContext(ctx, outdatedShare).Scan(&f.Outdated, &f.Running)
	return f.OutdatedShare(), domain("count refused client versions", err)
}
