package main

import (
	"time"

	"github.com/wafleet/wafleet/shared/settings"
)

// config is the whole environment of sweep.
type config struct {
	settings.Database
	// Fleet tells the metrics of several fleets in one AWS account apart.
	Fleet string `env:"FLEET" envDefault:"wafleet"`
	// AuditKeep is how long the audit remembers.
	AuditKeep time.Duration `env:"AUDIT_KEEP" envDefault:"2160h"`
	// LogLevel is DEBUG, INFO, WARN or ERROR, in any case.
	LogLevel settings.Level `env:"LOG_LEVEL" envDefault:"INFO"`
}

// readConfig reads and checks everything and reports all mistakes together. No
// value of a variable is repeated in the error: some are secrets.
func readConfig() (config, error) {
	c, wrong := settings.Read[config]()
	c.Database.Check(wrong)
	wrong.Unless(c.AuditKeep >= minAuditKeep, "AUDIT_KEEP must be at least 24h")
	wrong.Unless(len(c.Fleet) <= maxDimension, "FLEET must have at most 250 characters")
	return c, wrong.Err()
}

// minAuditKeep keeps a typing error from erasing what nobody can write again.
const minAuditKeep = 24 * time.Hour

// maxDimension keeps clear of CloudWatch's own limit, which is 1024.
const maxDimension = 250
