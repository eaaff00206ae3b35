package main

import (
	"fmt"
	"time"

	"github.com/wafleet/wafleet/shared/settings"
	"github.com/wafleet/wafleet/shared/telemetry"
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
	if err := telemetry.CheckFleet(c.Fleet); err != nil {
		wrong.Add(fmt.Errorf("FLEET %w", err))
	}
	return c, wrong.Err()
}

// minAuditKeep keeps a typing error from erasing what nobody can write again.
const minAuditKeep = 24 * time.Hour
