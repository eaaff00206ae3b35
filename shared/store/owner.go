package store

import (
	"context"
	"database/sql/driver"
	"errors"
	"fmt"
	"net/url"
	"time"

	"github.com/lib/pq"
	"github.com/wafleet/wafleet/shared/session"
)

// idleInTransaction ends the transaction of an owner that froze in it, so that
// its locks hold up nobody for longer.
const idleInTransaction = 20 * time.Second

// connector makes connections that carry their owner's name.
type connector struct {
	dsn    string
	dialer patientDialer
	name   string
	owner  func() session.ConnectorID // nil: nobody
}

func (c *connector) Connect(ctx context.Context) (driver.Conn, error) {
	if c.owner == nil {
		return c.connect(ctx, c.dsn)
	}
	owner := c.owner()
	dsn, err := withName(c.dsn, ownedName(c.name, owner))
	if err != nil {
		return nil, err
	}
	conn, err := c.connect(ctx, dsn)
	if err != nil {
		return nil, err
	}
	whole, ok := conn.(pqConn)
	if !ok {
		conn.Close()
		return nil, fmt.Errorf("the driver's connection is a %T, which lacks a method", conn)
	}
	return &ownedConn{whole, c.owner, owner}, nil
}

func (c *connector) connect(ctx context.Context, dsn string) (driver.Conn, error) {
	connector, err := pq.NewConnector(dsn)
	if err != nil {
		return nil, errors.New("connect to Postgres: DATABASE_URL is not usable") // the driver's text may hold the password
	}
	connector.Dialer(c.dialer)
	return connector.Connect(ctx)
}

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

func (c *connector) Driver() driver.Driver { return &pq.Driver{} }

func withName(dsn, name string) (string, error) {
	u, err := url.Parse(dsn)
	if err != nil {
		return "", fmt.Errorf("connect to Postgres: %w", err)
	}
	query := u.Query()
	query.Set("application_name", name)
	u.RawQuery = query.Encode()
	return u.String(), nil
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
