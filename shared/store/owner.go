package store

import (
	"context"
	"database/sql/driver"
	"time"

	"github.com/wafleet/wafleet/shared/session"
)

// idleInTransaction ends the transaction of an owner that froze in it, so that
// its locks hold up nobody for longer.
const idleInTransaction = 20 * time.Second

// pqConn is everything that database/sql finds in a connection of the driver.
type pqConn interface {
	driver.Conn
	driver.ConnBeginTx
	driver.ConnPrepareContext
	driver.ExecerContext
	driver.NamedValueChecker
	driver.Pinger
	driver.QueryerContext
	driver.SessionResetter
	driver.Validator
}

// ownedConn is not used again once it belongs to somebody else: one that was
// made for no connector, or for the last lease, carries the wrong name.
type ownedConn struct {
	pqConn
	owner   func() session.ConnectorID
	madeFor session.ConnectorID
}

func (c *ownedConn) ResetSession(ctx context.Context) error {
	if c.owner() != c.madeFor {
		return driver.ErrBadConn
	}
	return c.pqConn.ResetSession(ctx)
}

// ownerLength is how much of an owner's id its connections carry: the UUID at
// its end. Postgres keeps 63 bytes of a name.
const ownerLength = 36

// ownedName is what silencing in SQL looks for.
func ownedName(name string, owner session.ConnectorID) string {
	return name + " " + string(owner[max(0, len(owner)-ownerLength):])
}

// silencing ends the connections of the connectors in the CTE dead(holder), and
// waits for the end of each. Only who knows that their leases have passed may use
// it. A statement that such a connector sent may arrive later than the first of
// its successor, as device stores carry no epoch; without its connection it does
// not arrive. The condition spares every other claim the look at the server's
// activity.
const silencing = `silenced AS (
    SELECT pg_terminate_backend(a.pid, 1000) FROM pg_stat_activity a
    WHERE EXISTS (SELECT FROM dead) AND a.datname = current_database() AND a.usename = current_user
      AND right(a.application_name, 36) IN (SELECT right(holder, 36) FROM dead)
)`
