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

// renewHeld leaves a lease that has passed alone: whoever saw it pass may have
// claimed its sessions.
const renewHeld = `
UPDATE connector SET lease_until = now() + $2 * interval '1 millisecond' WHERE id = $1 AND lease_until > now()`

// RenewHeld prolongs a lease that has not passed; session.ErrLeaseLost says
// that it has, which is final for this id.
func (s *Store) RenewHeld(ctx context.Context, id session.ConnectorID, ttl time.Duration) error {
	return s.oneRow(ctx, "renew the lease", session.ErrLeaseLost, renewHeld, id, milliseconds(ttl))
}

// SetDraining says that the connector claims nothing more.
func (s *Store) SetDraining(ctx context.Context, id session.ConnectorID) error {
	return s.oneRow(ctx, "start draining", session.ErrLeaseLost, `UPDATE connector SET draining = true WHERE id = $1`, id)
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
	result, err := s.db.ExecContext(ctx, query, args...)
	if err != nil {
		return domain(what, err)
	}
	n, err := result.RowsAffected()
	if err == nil && n == 0 {
		return missing
	}
	return domain(what, err)
}
