package main

import (
	"errors"
	"fmt"
	"log/slog"
	"reflect"
	"strings"

	"github.com/caarlos0/env/v11"
	"github.com/wafleet/wafleet/functions/access"
	"github.com/wafleet/wafleet/functions/control"
	"github.com/wafleet/wafleet/functions/httpapi"
	"github.com/wafleet/wafleet/shared/secret"
	"github.com/wafleet/wafleet/shared/session"
	"github.com/wafleet/wafleet/shared/store"
)

// config is the whole environment of the API.
type config struct {
	// DatabaseURL of Postgres, with sslmode. A secret.
	DatabaseURL string `env:"DATABASE_URL,required,notEmpty"`
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
	// LogLevel is DEBUG, INFO, WARN or ERROR, in any case.
	LogLevel slog.Level `env:"LOG_LEVEL" envDefault:"INFO"`
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
	read, err := env.ParseAs[config]()
	var mistakes []error
	if err != nil {
		mistakes = append(mistakes, environmentMistakes(err)...)
	}
	if read.DatabaseURL != "" {
		if err := store.CheckURL(read.DatabaseURL); err != nil {
			mistakes = append(mistakes, err)
		}
	}
	switch read.DefaultStoreDialect {
	case session.SQLite, session.Postgres, "": // empty: the parse failed already
	default:
		mistakes = append(mistakes, errors.New("DEFAULT_STORE_DIALECT must be sqlite3 or postgres"))
	}
	if read.DatabaseMaxOpen < 0 {
		mistakes = append(mistakes, errors.New("DATABASE_MAX_OPEN must not be negative"))
	}
	if read.origins, err = httpapi.ParseOrigins(read.CORSOrigins); err != nil {
		mistakes = append(mistakes, fmt.Errorf("CORS_ORIGINS %w", err))
	}
	if read.secrets, err = secret.ParsePlace(read.SecretsKeyFile, read.SecretsKMSKey); err != nil {
		mistakes = append(mistakes, err)
	}
	return read, errors.Join(append(mistakes, read.limitMistakes()...)...)
}

// maxRate is in requests per second, far above what one process answers.
const maxRate = 1e6

func (c config) limitMistakes() (mistakes []error) {
	if !(c.RatePerSecond >= 0 && c.RatePerSecond <= maxRate) { // a NaN is neither
		mistakes = append(mistakes, errors.New("RATE_LIMIT_PER_SECOND must be a number from 0, which means no limit, to 1000000"))
	}
	if c.RatePerSecond > 0 && c.RateBurst < 1 {
		mistakes = append(mistakes, errors.New("RATE_LIMIT_BURST must be at least 1"))
	}
	if c.SessionQuota < 0 {
		mistakes = append(mistakes, errors.New("SESSION_QUOTA must not be negative; 0 means no limit"))
	}
	return mistakes
}

// environmentMistakes names the variables instead of repeating their values.
func environmentMistakes(err error) []error {
	var all env.AggregateError
	if !errors.As(err, &all) {
		return []error{errors.New("the environment cannot be read")}
	}
	var mistakes []error
	for _, one := range all.Errors {
		var parse env.ParseError
		if errors.As(one, &parse) {
			mistakes = append(mistakes, fmt.Errorf("%s is not a valid %s", variableOf(parse.Name), parse.Type))
			continue
		}
		mistakes = append(mistakes, errors.New(strings.TrimPrefix(one.Error(), "env: ")))
	}
	return mistakes
}

// variableOf is what operators set for a field of config.
func variableOf(field string) string {
	found, _ := reflect.TypeFor[config]().FieldByName(field)
	name, _, _ := strings.Cut(found.Tag.Get("env"), ",")
	return name
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
		slog.String("secrets_key", c.secrets.String()),
		slog.Float64("rate_limit_per_second", c.RatePerSecond),
		slog.Int("session_quota", c.SessionQuota),
		slog.String("log_level", c.LogLevel.String()),
		slog.Any("cors_origins", c.origins),
	)
}
