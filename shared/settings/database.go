package settings

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"slices"
	"strconv"

	"github.com/wafleet/wafleet/shared/login"
	"github.com/wafleet/wafleet/shared/store"
)

// Database is where Postgres is and who logs in: one URL, or its pieces with
// credentials that AWS keeps.
type Database struct {
	// URL with user, password and sslmode. A secret.
	URL string `env:"DATABASE_URL" secret:"url"`

	// Host and what follows stand for a URL without a password.
	Host string `env:"DATABASE_HOST"`
	Port uint16 `env:"DATABASE_PORT" envDefault:"5432"`
	Name string `env:"DATABASE_NAME" envDefault:"wafleet"`
	// User is who logs in with IAM, or where the secret does not say.
	User    string `env:"DATABASE_USER"`
	SSLMode string `env:"DATABASE_SSLMODE" envDefault:"verify-full"`
	// CA is a file with PEM certificates; the system's own where it is empty.
	CA string `env:"DATABASE_CA"`
	// Secret is the ARN of a secret with the login.
	Secret string `env:"DATABASE_SECRET"`
	// IAM makes a token for every connection.
	IAM bool `env:"DATABASE_IAM_AUTH" envDefault:"false"`

	credentials store.Credentials // nil: they are in the URL
}

// sslModes are those that make sense without a password in the URL.
var sslModes = []string{"verify-full", "verify-ca", "require", "disable"}

// Check judges the pieces together, and prepares [Database.Open].
func (d *Database) Check(wrong *Mistakes) {
	switch {
	case d.URL != "" && d.Host != "":
		wrong.Add(errors.New("DATABASE_URL and DATABASE_HOST must not be set together"))
		return
	case d.URL != "":
		wrong.Add(store.CheckURL(d.URL))
		wrong.Unless(d.Secret == "" && !d.IAM, "DATABASE_SECRET and DATABASE_IAM_AUTH belong to DATABASE_HOST, not to DATABASE_URL")
		return
	case d.Host == "":
		wrong.Add(errors.New("DATABASE_URL is missing: postgres://user:password@host:5432/name?sslmode=verify-full; or DATABASE_HOST and who logs in"))
		return
	}
	wrong.Unless(d.Port > 0, "DATABASE_PORT must be from 1 to 65535")
	wrong.Unless(slices.Contains(sslModes, d.SSLMode), "DATABASE_SSLMODE must be verify-full, verify-ca, require or disable")
	wrong.Add(d.checkCA())
	d.checkLogin(wrong)
	if wrong.Err() == nil {
		wrong.Unless(store.CheckURL(d.url()) == nil, "DATABASE_HOST must be the name or address of a host")
	}
}

// checkCA finds a wrong path before the first connection does, which would not
// name the variable.
func (d *Database) checkCA() error {
	if d.CA == "" {
		return nil
	}
	text, err := os.ReadFile(d.CA)
	if err != nil || !bytes.Contains(text, []byte("-----BEGIN CERTIFICATE-----")) {
		return errors.New("DATABASE_CA must name a file with PEM certificates that can be read")
	}
	return nil
}

func (d *Database) checkLogin(wrong *Mistakes) {
	switch {
	case d.Secret != "" && d.IAM:
		wrong.Add(errors.New("DATABASE_SECRET and DATABASE_IAM_AUTH must not be set together"))
	case d.Secret != "":
		if err := login.CheckARN(d.Secret); err != nil {
			wrong.Add(fmt.Errorf("DATABASE_SECRET %w", err))
		}
		d.credentials = login.FromSecret(d.Secret, d.User)
	case d.IAM:
		wrong.Unless(d.User != "", "DATABASE_USER is missing: DATABASE_IAM_AUTH needs it")
		wrong.Unless(d.SSLMode != "disable" || isLoopback(d.Host), "DATABASE_SSLMODE must not be disable: a token of DATABASE_IAM_AUTH goes nowhere in clear")
		d.credentials = login.FromIAM(d.Host, strconv.Itoa(int(d.Port)), d.User)
	default:
		wrong.Add(errors.New("DATABASE_HOST needs DATABASE_SECRET or DATABASE_IAM_AUTH; a password goes into DATABASE_URL"))
	}
}

func isLoopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

// url is the one that is set, or that of the pieces.
func (d *Database) url() string {
	if d.URL != "" {
		return d.URL
	}
	query := url.Values{"sslmode": {d.SSLMode}}
	if d.CA != "" {
		query.Set("sslrootcert", d.CA)
	}
	// The driver looks for a user of this machine where there is none.
	u := url.URL{Scheme: "postgres", User: url.User(cmp.Or(d.User, "wafleet")), Host: net.JoinHostPort(d.Host, strconv.Itoa(int(d.Port))), Path: "/" + d.Name, RawQuery: query.Encode()}
	return u.String()
}

// Open prepares a pool of connections; it does not connect yet. All pools of a
// program share the login.
func (d *Database) Open(o store.Options) (*store.Store, error) {
	o.Credentials = d.credentials
	return store.Open(d.url(), o)
}
