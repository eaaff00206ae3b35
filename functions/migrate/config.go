package main

import (
	"fmt"
	"time"

	"github.com/wafleet/wafleet/shared/schema"
	"github.com/wafleet/wafleet/shared/settings"
)

// config is the whole environment of migrate.
type config struct {
	settings.Database
	// AppUser is the role to make for the other programs, where they do not log in
	// as this one does.
	AppUser string `env:"DATABASE_APP_USER"`
	// Timeout is for all steps together. Under Lambda the function's own bounds
	// them too.
	Timeout time.Duration `env:"MIGRATE_TIMEOUT" envDefault:"10m"`
}

// readConfig reads and checks everything and reports all mistakes together.
func readConfig() (config, error) {
	c, wrong := settings.Read[config]()
	c.Database.Check(wrong)
	wrong.Unless(c.Timeout > 0, "MIGRATE_TIMEOUT must be positive")
	if c.AppUser != "" {
		if err := schema.CheckRole(c.AppUser); err != nil {
			wrong.Add(fmt.Errorf("DATABASE_APP_USER %w", err))
		}
	}
	return c, wrong.Err()
}
