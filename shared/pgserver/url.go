package pgserver

import (
	"fmt"
	"net"
	"net/url"
	"strconv"
)

// superuser is the only role initdb creates.
const superuser = "postgres"

// URL is the lib/pq URL of a database on this server, as its superuser. It contains the password: do not log it. An empty
// name means the maintenance database postgres.
func (s *Server) URL(dbname string) string {
	return serverURL(s.port, s.password, dbname)
}

func serverURL(port int, password, dbname string) string {
	if dbname == "" {
		dbname = "postgres"
	}
	u := url.URL{
		Scheme:   "postgres",
		User:     url.UserPassword(superuser, password),
		Host:     net.JoinHostPort("127.0.0.1", strconv.Itoa(port)),
		Path:     "/" + dbname,
		RawQuery: "binary_parameters=yes&sslmode=disable",
	}
	return u.String()
}

// WithDatabase returns a Postgres URL for another database of the same server, with binary_parameters=yes added: without
// it a statement may run another query's text when a transaction pooler sits between. Everything else stays.
func WithDatabase(base, dbname string) (string, error) {
	u, err := url.Parse(base)
	if err != nil {
		// The parse error quotes its input, which may hold a password.
		return "", fmt.Errorf("database URL cannot be parsed")
	}
	if u.Scheme != "postgres" && u.Scheme != "postgresql" {
		return "", fmt.Errorf("database URL starts with %q, want postgres://", u.Scheme)
	}
	u.Path, u.RawPath = "/"+dbname, ""
	query := u.Query()
	query.Set("binary_parameters", "yes")
	u.RawQuery = query.Encode()
	return u.String(), nil
}
