package main

import (
	"fmt"

	"github.com/wafleet/wafleet/shared/secret"
	"github.com/wafleet/wafleet/shared/settings"
)

// config is the whole environment of wafleet.
type config struct {
	// Database is no flag: command lines show in process lists.
	settings.Database
	// SecretsKMSKey is the ARN that rotate-secrets needs.
	SecretsKMSKey string `env:"SECRETS_KMS_KEY"`
	// LogLevel is DEBUG, INFO, WARN or ERROR, in any case; of the log under Lambda.
	LogLevel settings.Level `env:"LOG_LEVEL" envDefault:"INFO"`
}

// readConfig reads and checks everything and reports all mistakes together. No
// value of a variable is repeated in the error: some are secrets.
func readConfig() (config, error) {
	c, wrong := settings.Read[config]()
	c.Database.Check(wrong)
	if c.SecretsKMSKey != "" {
		if err := secret.CheckARN(c.SecretsKMSKey); err != nil {
			wrong.Add(fmt.Errorf("SECRETS_KMS_KEY %w", err))
		}
	}
	return c, wrong.Err()
}
