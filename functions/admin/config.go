package main

import (
	"errors"
	"fmt"
	"log/slog"

	"github.com/caarlos0/env/v11"

	"github.com/wafleet/wafleet/shared/secret"
	"github.com/wafleet/wafleet/shared/store"
	"github.com/wafleet/wafleet/shared/telemetry"
)

// config is the whole environment of wafleet.
type config struct {
	// DatabaseURL of Postgres, with sslmode. A secret, and so no flag: command
	// lines show in process lists.
	DatabaseURL string `env:"DATABASE_URL"`
	// SecretsKMSKey is the ARN that rotate-secrets needs.
	SecretsKMSKey string `env:"SECRETS_KMS_KEY"`
	// LogLevel is DEBUG, INFO, WARN or ERROR, in any case; of the log under Lambda.
	LogLevel string `env:"LOG_LEVEL" envDefault:"INFO"`

	level slog.Level
}

// readConfig reads and checks everything and reports all mistakes together. No
// value of a variable is repeated in the error: some are secrets.
func readConfig() (config, error) {
	c, err := env.ParseAs[config]()
	if err != nil {
		return c, errors.New("the environment cannot be read")
	}
	var mistakes []error
	if c.DatabaseURL == "" {
		mistakes = append(mistakes, errors.New("DATABASE_URL is missing: postgres://user:password@host:5432/name?sslmode=verify-full"))
	} else if err := store.CheckURL(c.DatabaseURL); err != nil {
		mistakes = append(mistakes, err)
	}
	if c.SecretsKMSKey != "" {
		if err := secret.CheckARN(c.SecretsKMSKey); err != nil {
			mistakes = append(mistakes, fmt.Errorf("SECRETS_KMS_KEY %w", err))
		}
	}
	if c.level, err = telemetry.ParseLevel(c.LogLevel); err != nil {
		mistakes = append(mistakes, errors.New("LOG_LEVEL must be one of DEBUG, INFO, WARN, ERROR"))
	}
	return c, errors.Join(mistakes...)
}
