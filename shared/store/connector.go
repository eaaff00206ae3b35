package store

import (
	"context"
	"database/sql"
	"time"

	"github.com/wafleet/wafleet/shared/session"
)

// Connector is one process run of the fleet.
type Connector struct {
	ID      session.ConnectorID
	Address string // host:port of its health and metrics, for people
	Slots   int
	Version string
	Task    string // ARN of its ECS task, empty outside of ECS
}

const register = `
INSERT INTO connector (id, address, slots, version, task, lease_until)
VALUES ($1, $2, $3, $4, NULLIF($5, ''), now() + $6 * interval '1 millisecond')`

// Register enters a connector with a lease of ttl. The id must be new.
func (s *Store) Register(ctx context.Context, c Connector, ttl time.Duration) error {
	_, err := s.db.ExecContext(ctx, register, c.ID, c.Address, c.Slots, c.Version, c.Task, milliseconds(ttl))
	return domain("register the connector", err)
}

// Vitals is what a heartbeat tells beside that the connector lives.
type Vitals struct {
	Held int // sessions, also those still closing
	// HeardAt is the oldest last sign of life among the working sessions, by the
	// clock of this process: each of them was heard then or later. Zero where none
	// works. One column for all keeps idle sessions free of writes.
	HeardAt time.Time
}

// renewHeld leaves a lease that has passed alone: whoever saw it pass may have
// claimed its sessions.
const renewHeld = `
UPDATE connector SET lease_until = now() + $2 * interval '1 millisecond', held = $3,
    heard_at = CASE WHEN $4::bigint >= 0 THEN now() - $4::bigint * interval '1 millisecond' END
WHERE id = $1 AND lease_until > now()`

// RenewHeld prolongs a lease that has not passed; session.ErrLeaseLost says
// that it has, which is final for this id.
func (s *Store) RenewHeld(ctx context.Context, id session.ConnectorID, ttl time.Duration, v Vitals) error {
	return s.oneRow(ctx, "renew the lease", session.ErrLeaseLost, renewHeld, id, milliseconds(ttl), v.Held, age(v.HeardAt))
}

// SetDraining says that the connector claims nothing more.
func (s *Store) SetDraining(ctx context.Context, id session.ConnectorID) error {
	return s.oneRow(ctx, "start draining", session.ErrLeaseLost, `UPDATE connector SET draining = true WHERE id = $1`, id)
}

// Load is how much a connector has taken on, as of its last heartbeat.
type Load struct {
	ID       session.ConnectorID
	Slots    int
	Held     int
	Age      time.Duration // since it registered
	Draining bool          // it claims nothing more
}

const loads = `
SELECT id, slots, held, extract(epoch FROM now() - started_at), draining FROM connector WHERE lease_until > now()`

// Loads returns the load of every connector that lives.
func (s *Store) Loads(ctx context.Context) ([]Load, error) {
	return collect(ctx, s.often, "compare the connectors", func(rows *sql.Rows) (l Load, err error) {
		var seconds float64
		err = rows.Scan(&l.ID, &l.Slots, &l.Held, &seconds, &l.Draining)
		l.Age = time.Duration(seconds * float64(time.Second))
		return l, err
	}, loads)
}

// EndLease ends a lease at once. Only who knows that the process is gone may
// call it: the process itself when it leaves, its parent, the scheduler that
// stopped it. Its sessions are orphans from then on.
func (s *Store) EndLease(ctx context.Context, id session.ConnectorID) error {
	_, err := s.db.ExecContext(ctx, `UPDATE connector SET lease_until = now(), draining = true WHERE id = $1 AND lease_until > now()`, id)
	return domain("end the lease", err)
}

const endLeaseOfTask = `
UPDATE connector SET lease_until = now(), draining = true WHERE task = $1 AND lease_until > now() RETURNING id`

// EndLeaseOfTask ends the leases of an ECS task that has stopped, at once, and
// returns whose they were. Only who knows that the task is gone may call it, see
// EndLease. A task runs once, so a repeated or late call finds nothing to end.
func (s *Store) EndLeaseOfTask(ctx context.Context, task string) ([]session.ConnectorID, error) {
	return collect(ctx, s.db, "end the lease of a task", func(rows *sql.Rows) (session.ConnectorID, error) {
		var id session.ConnectorID
		return id, rows.Scan(&id)
	}, endLeaseOfTask, task)
}

// oneRow runs an update that must hit a row, or returns missing.
func (s *Store) oneRow(ctx context.Context, what string, missing error, query string, args ...any) error {
	result, err := s.often.ExecContext(ctx, query, args...)
	if err != nil {
		return domain(what, err)
	}
	n, err := result.RowsAffected()
	if err == nil && n == 0 {
		return missing
	}
	return domain(what, err)
}
