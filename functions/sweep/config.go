package main

import (
	"errors"
	"log/slog"
	"time"

	"github.com/caarlos0/env/v11"

	"github.com/wafleet/wafleet/shared/store"
	"github.com/wafleet/wafleet/shared/telemetry"
)

// config is the whole environment of sweep.
type config struct {
	// DatabaseURL of Postgres, with sslmode. A secret.
	DatabaseURL string `env:"DATABASE_URL"`
	// Fleet tells the metrics of several fleets in one AWS account apart.
	Fleet string `env:"FLEET" envDefault:"wafleet"`
	// AuditKeep is how long the audit remembers.
	AuditKeep time.Duration `env:"AUDIT_KEEP" envDefault:"2160h"`
	// LogLevel is DEBUG, INFO, WARN or ERROR, in any case.
	LogLevel string `env:"LOG_LEVEL" envDefault:"INFO"`

	level slog.Level
}

// readConfig reads and checks everything and reports all mistakes together. No
// value of a variable is repeated in the error: some are secrets.
func readConfig() (config, error) {
	c, err := env.ParseAs[config]()
	var mistakes []error
	if err != nil { // a duration is the only value that is parsed
		mistakes = append(mistakes, errors.New("AUDIT_KEEP must be a duration such as 2160h"))
	} else if c.AuditKeep < minAuditKeep {
		mistakes = append(mistakes, errors.New("AUDIT_KEEP must be at least 24h"))
	}
	if c.DatabaseURL == "" {
		mistakes = append(mistakes, errors.New("DATABASE_URL is missing: postgres://user:password@host:5432/name?sslmode=verify-full"))
	} else if err := store.CheckURL(c.DatabaseURL); err != nil {
		mistakes = append(mistakes, err)
	}
	if c.level, err = telemetry.ParseLevel(c.LogLevel); err != nil {
		mistakes = append(mistakes, errors.New("LOG_LEVEL must be one of DEBUG, INFO, WARN, ERROR"))
	}
	if c.Fleet == "" || len(c.Fleet) > maxDimension {
		mistakes = append(mistakes, errors.New("FLEET must have 1 to 250 characters"))
	}
	return c, errors.Join(mistakes...)
}

// minAuditKeep keeps a typing error from erasing what nobody can write again.
const minAuditKeep = 24 * time.Hour

// maxDimension keeps clear of CloudWatch's own limit, which is 1024.
const maxDimension = 250
