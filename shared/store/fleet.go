package store

import (
	"context"
	"time"
)

// FleetStatus is how well the fleet serves what the users want.
type FleetStatus struct {
	Wanted    int           // sessions that should be running now
	Held      int           // sessions that live connectors hold, also those still closing
	Unplaced  int           // of the wanted, those that no live connector holds
	OldestJob time.Duration // how long the first of the unplaced has had a start job; zero without one
	Alive     int           // connectors whose lease has not passed, also draining ones
	Slots     int           // of the live connectors that claim
	SlotsFree int           // of these, how many are not taken
}

// fleetStatus does not count as wanted who gave up, or waits for the end of a
// ban: they need no slot yet, and would scale the fleet for nothing.
const fleetStatus = `
WITH alive AS (
    SELECT c.id, c.slots, c.draining, (SELECT count(*) FROM session_run r WHERE r.holder = c.id) AS held
    FROM connector c WHERE c.lease_until > now()
), room AS (
    SELECT count(*) AS connectors, COALESCE(sum(held), 0)::bigint AS held,
        COALESCE(sum(slots) FILTER (WHERE NOT draining), 0)::bigint AS slots,
        COALESCE(sum(GREATEST(0, slots - held)) FILTER (WHERE NOT draining), 0)::bigint AS free
    FROM alive
), wanted AS (
    SELECT a.id IS NULL AS unplaced, j.available_at
    FROM session s
    JOIN session_run r ON r.session_id = s.id
    LEFT JOIN alive a ON a.id = r.holder
    LEFT JOIN start_job j ON j.session_id = s.id
    WHERE s.desired = 'running' AND (r.state <> 'FAILED' OR r.seen_generation < s.generation OR r.retry_at <= now())
      AND (a.id IS NOT NULL OR j.session_id IS NULL OR j.available_at <= now())
), demand AS (
    SELECT count(*) AS wanted, count(*) FILTER (WHERE unplaced) AS unplaced,
        COALESCE(extract(epoch FROM now() - min(available_at) FILTER (WHERE unplaced)), 0) AS oldest
    FROM wanted
)
SELECT wanted, held, unplaced, oldest, connectors, slots, free FROM demand, room`

// FleetStatus counts, in one statement and so at one moment.
func (s *Store) FleetStatus(ctx context.Context) (FleetStatus, error) {
	var (
		f      FleetStatus
		oldest float64
	)
	err := s.db.QueryRowContext(ctx, fleetStatus).Scan(&f.Wanted, &f.Held, &f.Unplaced, &oldest, &f.Alive, &f.Slots, &f.SlotsFree)
	f.OldestJob = time.Duration(oldest * float64(time.Second))
	return f, domain("count the fleet", err)
}
