package store

import (
	"context"
	"database/sql/driver"
	"errors"
	"fmt"
	"maps"
	"net/url"
	"strconv"

	"github.com/lib/pq"
	"github.com/wafleet/wafleet/shared/session"
)

// connector makes connections. The URL is read once.
type connector struct {
	config      pq.Config
	url         *url.URL // the same, for what takes only a text
	credentials Credentials
	dialer      patientDialer
	name        string
	owner       func() session.ConnectorID // nil: nobody
}

// newConnector checks the URL and adds what every connection needs.
// binary_parameters=yes keeps a query and its arguments in one round trip,
// without which a transaction pooler may run another client's statement.
func newConnector(databaseURL string, o Options) (*connector, error) {
	u, err := url.Parse(databaseURL)
	if err != nil || (u.Scheme != "postgres" && u.Scheme != "postgresql") {
		return nil, errors.New("DATABASE_URL must be a URL such as postgres://user:password@host:5432/name?sslmode=verify-full")
	}
	query := u.Query()
	if query.Get("sslmode") == "" {
		return nil, errors.New("DATABASE_URL must say sslmode: verify-full, or disable for a server on this machine")
	}
	query.Set("binary_parameters", "yes")
	if query.Get("connect_timeout") == "" {
		query.Set("connect_timeout", "5")
	}
	if o.ApplicationName != "" {
		query.Set("application_name", o.ApplicationName)
	}
	if o.Role != "" {
		query.Set("role", o.Role)
	}
	if o.Owner != nil {
		query.Set("idle_in_transaction_session_timeout", strconv.FormatInt(milliseconds(idleInTransaction), 10))
		if o.Answer > 0 { // the server gives a statement up before we do, or it may land later
			query.Set("statement_timeout", strconv.FormatInt(milliseconds(o.Answer*4/5), 10))
		}
	}
	u.RawQuery = query.Encode()
	config, err := pq.NewConfig(u.String())
	if err != nil {
		return nil, errors.New("DATABASE_URL is not a usable Postgres URL") // the driver's text may hold the password
	}
	return &connector{
		config: config, url: u, credentials: o.Credentials,
		dialer: patientDialer{o.Answer, o.Held}, name: o.ApplicationName, owner: o.Owner,
	}, nil
}

// Connect implements [driver.Connector].
func (c *connector) Connect(ctx context.Context) (driver.Conn, error) {
	if c.owner == nil {
		return c.connect(ctx, c.name)
	}
	owner := c.owner()
	conn, err := c.connect(ctx, ownedName(c.name, owner))
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

// Driver implements [driver.Connector].
func (c *connector) Driver() driver.Driver { return &pq.Driver{} }

func (c *connector) connect(ctx context.Context, name string) (conn driver.Conn, err error) {
	config := c.config
	if name != "" {
		config.ApplicationName = name
	}
	if c.credentials == nil {
		return c.open(ctx, config)
	}
	err = withLogin(ctx, c.credentials, func(l Login) (err error) {
		config.User, config.Password = l.User, l.Password
		conn, err = c.open(ctx, config)
		return err
	})
	return conn, err
}

func (c *connector) open(ctx context.Context, config pq.Config) (driver.Conn, error) {
	config.Runtime = maps.Clone(config.Runtime) // the driver's; it may write to it
	connector, err := pq.NewConnectorConfig(config)
	if err != nil {
		return nil, errors.New("connect to Postgres: DATABASE_URL is not usable") // the driver's text may hold the password
	}
	connector.Dialer(c.dialer)
	return connector.Connect(ctx)
}

// listen makes a connection that hears notifications, which come until it ends.
func (c *connector) listen(ctx context.Context, to chan<- *pq.Notification) (conn *pq.ListenerConn, err error) {
	if c.credentials == nil {
		return pq.NewListenerConn(c.url.String(), to)
	}
	err = withLogin(ctx, c.credentials, func(l Login) (err error) {
		as := *c.url
		as.User = url.UserPassword(l.User, l.Password)
		conn, err = pq.NewListenerConn(as.String(), to)
		return err
	})
	return conn, err
}
