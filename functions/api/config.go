package main

import (
	"errors"
	"fmt"
	"log/slog"

	"github.com/wafleet/wafleet/functions/access"
	"github.com/wafleet/wafleet/functions/control"
	"github.com/wafleet/wafleet/functions/httpapi"
	"github.com/wafleet/wafleet/shared/secret"
	"github.com/wafleet/wafleet/shared/session"
	"github.com/wafleet/wafleet/shared/settings"
	"github.com/wafleet/wafleet/shared/startqueue"
	"github.com/wafleet/wafleet/shared/telemetry"
)

// config is the whole environment of the API.
type config struct {
	settings.Database
	// DatabaseMaxOpen caps the connections: 2 under Lambda, where a process
	// serves one request at a time, 10 with -listen.
	DatabaseMaxOpen int `env:"DATABASE_MAX_OPEN"`
	// DefaultStoreDialect is what an omitted config.store means.
	DefaultStoreDialect session.Dialect `env:"DEFAULT_STORE_DIALECT" envDefault:"sqlite3"`
	// DataDir is the connectors' data directory. The API never opens it; that it
	// is set says that the fleet has one.
	DataDir string `env:"DATA_DIR"`
	// SQLiteAvailable says the same where the directory has no meaning for the
	// API, as under Lambda.
	SQLiteAvailable bool `env:"SQLITE_AVAILABLE" envDefault:"false"`
	// SecretsKeyFile and SecretsKMSKey say where the key is that encrypts secrets;
	// without one they are refused. At most one of the two.
	SecretsKeyFile string `env:"SECRETS_KEY_FILE"`
	SecretsKMSKey  string `env:"SECRETS_KMS_KEY"`
	// RatePerSecond and RateBurst bound the requests of each key in this process;
	// a rate of 0 bounds nothing.
	RatePerSecond float64 `env:"RATE_LIMIT_PER_SECOND" envDefault:"50"`
	RateBurst     int     `env:"RATE_LIMIT_BURST" envDefault:"100"`
	// SessionQuota is how many sessions a tenant without a quota of its own may
	// have; 0 for any number.
	SessionQuota int `env:"SESSION_QUOTA" envDefault:"0"`
	// QueueURL is the SQS queue that start hints are sent to; empty: none.
	QueueURL string `env:"QUEUE_URL"`
	// Fleet tells the metrics of several fleets in one AWS account apart.
	Fleet string `env:"FLEET" envDefault:"wafleet"`
	// LogLevel is DEBUG, INFO, WARN or ERROR, in any case.
	LogLevel settings.Level `env:"LOG_LEVEL" envDefault:"INFO"`
	// CORSOrigins is a list with commas of the origins whose pages may call the
	// API, or *; none where it is empty.
	CORSOrigins string `env:"CORS_ORIGINS"`

	origins []string
	secrets secret.Place
}

// readConfig reads and checks everything and reports all mistakes together. No
// value of a variable is repeated in the error, but wrong origins and a path: some
// are secrets.
func readConfig() (config, error) {
	read, wrong := settings.Read[config]()
	read.Database.Check(wrong)
	switch read.DefaultStoreDialect {
	case session.SQLite, session.Postgres:
	default:
		wrong.Add(errors.New("DEFAULT_STORE_DIALECT must be sqlite3 or postgres"))
	}
	wrong.Unless(read.DatabaseMaxOpen >= 0, "DATABASE_MAX_OPEN must not be negative")
	var err error
	if read.origins, err = httpapi.ParseOrigins(read.CORSOrigins); err != nil {
		wrong.Add(fmt.Errorf("CORS_ORIGINS %w", err))
	}
	read.secrets, err = secret.ParsePlace(read.SecretsKeyFile, read.SecretsKMSKey)
	wrong.Add(err)
	if read.QueueURL != "" {
		if err := startqueue.CheckURL(read.QueueURL); err != nil {
			wrong.Add(fmt.Errorf("QUEUE_URL %w", err))
		}
	}
	if err := telemetry.CheckFleet(read.Fleet); err != nil {
		wrong.Add(fmt.Errorf("FLEET %w", err))
	}
	read.checkLimits(wrong)
	return read, wrong.Err()
}

// maxRate is in requests per second, far above what one process answers.
const maxRate = 1e6

func (c config) checkLimits(wrong *settings.Mistakes) {
	// A NaN is in no range.
	wrong.Unless(c.RatePerSecond >= 0 && c.RatePerSecond <= maxRate, "RATE_LIMIT_PER_SECOND must be a number from 0, which means no limit, to 1000000")
	wrong.Unless(c.RatePerSecond <= 0 || c.RateBurst >= 1, "RATE_LIMIT_BURST must be at least 1")
	wrong.Unless(c.SessionQuota >= 0, "SESSION_QUOTA must not be negative; 0 means no limit")
}

// control is what the use cases need of it.
func (c config) control() control.Config {
	return control.Config{
		Defaults:        session.Defaults{Dialect: c.DefaultStoreDialect},
		SQLiteAvailable: c.SQLiteAvailable || c.DataDir != "",
	}
}

// access is what the keys' use cases need of it. Nothing here lets anybody in
// without a key.
func (c config) access() access.Config {
	return access.Config{RatePerSecond: c.RatePerSecond, RateBurst: c.RateBurst, SessionQuota: c.SessionQuota}
}

// LogValue leaves the database's password out of every log.
func (c config) LogValue() slog.Value {
	return slog.GroupValue(
		slog.String("default_store_dialect", string(c.DefaultStoreDialect)),
		slog.Bool("sqlite_available", c.control().SQLiteAvailable),
		slog.Bool("start_hints", c.QueueURL != ""),
		slog.String("secrets_key", c.secrets.String()),
		slog.Float64("rate_limit_per_second", c.RatePerSecond),
		slog.Int("session_quota", c.SessionQuota),
		slog.String("log_level", c.LogLevel.String()),
		slog.Any("cors_origins", c.origins),
	)
}
