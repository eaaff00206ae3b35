package store

import (
	"context"
	"database/sql/driver"
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
	dsn := c.dsn
	if c.owner != nil {
		if id := c.owner(); id != "" {
			var err error
			if dsn, err = withName(dsn, ownedName(c.name, id)); err != nil {
				return nil, err
			}
		}
	}
	connector, err := pq.NewConnector(dsn)
	if err != nil {
		return nil, fmt.Errorf("connect to Postgres: %w", err)
	}
	connector.Dialer(c.dialer)
	return connector.Connect(ctx)
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
