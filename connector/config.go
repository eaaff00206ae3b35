package main

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"github.com/caarlos0/env/v11"
	"golang.org/x/time/rate"

	"github.com/wafleet/wafleet/connector/lease"
	"github.com/wafleet/wafleet/connector/runner"
	"github.com/wafleet/wafleet/connector/supervisor"
	"github.com/wafleet/wafleet/connector/whatsapp"
	"github.com/wafleet/wafleet/shared/secret"
	"github.com/wafleet/wafleet/shared/telemetry"
)

// config is the environment of a connector.
type config struct {
	DatabaseURL string `env:"DATABASE_URL"`
	DatabaseMax int    `env:"DATABASE_MAX_CONNS" envDefault:"12"`
	Slots       int    `env:"SLOTS" envDefault:"200"`
	DataDir     string `env:"DATA_DIR"`
	Listen      string `env:"LISTEN" envDefault:"127.0.0.1:9090"`
	LogLevel    string `env:"LOG_LEVEL" envDefault:"INFO"`
	Connects    int    `env:"CONNECTS_PER_SECOND" envDefault:"25"`
	Moves       int    `env:"REBALANCE_PER_SECOND" envDefault:"1"`

	// SecretsKeyFile and SecretsKMSKey say where the key is that secrets in
	// configs were encrypted with; at most one of the two.
	SecretsKeyFile string `env:"SECRETS_KEY_FILE"`
	SecretsKMSKey  string `env:"SECRETS_KMS_KEY"`

	LeaseTTL time.Duration `env:"LEASE_TTL" envDefault:"15s"`
	// TaskMetadata is set by ECS: where a container asks about its task.
	TaskMetadata string `env:"ECS_CONTAINER_METADATA_URI_V4"`
	// Agent is set by ECS: where a container asks not to be stopped.
	Agent string `env:"ECS_AGENT_URI"`
	// LeaseFD and CrashFD are set by a guard: pipes that it reads.
	LeaseFD int `env:"GUARD_LEASE_FD"`
	CrashFD int `env:"GUARD_CRASH_FD"`

	Version           string        `env:"WHATSAPP_VERSION"`
	DialAddr          string        `env:"WHATSAPP_DIAL_ADDR"`
	TLSCA             string        `env:"WHATSAPP_TLS_CA"`
	NoiseRootKey      string        `env:"WHATSAPP_NOISE_ROOT_KEY"`
	KeepAlive         time.Duration `env:"WHATSAPP_KEEPALIVE" envDefault:"25s"`
	KeepAliveDeadline time.Duration `env:"WHATSAPP_KEEPALIVE_DEADLINE" envDefault:"10s"`
	QRFirst           time.Duration `env:"QR_FIRST" envDefault:"60s"`
	QRNext            time.Duration `env:"QR_NEXT" envDefault:"20s"`
	UnlinkPatience    time.Duration `env:"UNLINK_PATIENCE" envDefault:"2m"`

	level    slog.Level
	lease    lease.Config
	endpoint whatsapp.Endpoint
	secrets  secret.Place
}

// readConfig reads and checks the environment; every mistake is reported at
// once.
func readConfig() (config, error) {
	c, err := env.ParseAs[config]()
	if err != nil {
		return c, err
	}
	var problems []error
	complain := func(ok bool, format string, args ...any) {
		if !ok {
			problems = append(problems, fmt.Errorf(format, args...))
		}
	}
	complain(c.DatabaseURL != "", "DATABASE_URL is missing: the fleet's Postgres, such as postgres://user:password@host:5432/wafleet?sslmode=verify-full")
	complain(c.DatabaseMax >= minConns, "DATABASE_MAX_CONNS must be at least %d, not %d", minConns, c.DatabaseMax)
	complain(c.Slots > 0, "SLOTS must be positive, not %d", c.Slots)
	complain(c.Connects > 0, "CONNECTS_PER_SECOND must be positive, not %d", c.Connects)
	complain(c.Moves >= 0 && c.Moves <= 1000, "REBALANCE_PER_SECOND must be from 0 (off) to 1000, not %d", c.Moves)
	complain(c.QRFirst > 0 && c.QRNext > 0, "QR_FIRST and QR_NEXT must be positive")
	complain(c.UnlinkPatience > 0, "UNLINK_PATIENCE must be positive")
	complain(c.KeepAlive > 0 && c.KeepAliveDeadline > 0, "WHATSAPP_KEEPALIVE and WHATSAPP_KEEPALIVE_DEADLINE must be positive")
	if c.level, err = telemetry.ParseLevel(c.LogLevel); err != nil {
		problems = append(problems, fmt.Errorf("LOG_LEVEL %w", err))
	}
	if c.lease, err = (lease.Config{TTL: c.LeaseTTL}).WithDefaults(); err != nil {
		problems = append(problems, fmt.Errorf("LEASE_TTL: %w", err))
	}
	if c.endpoint, err = whatsapp.ParseEndpoint(c.DialAddr, c.TLSCA, c.NoiseRootKey); err != nil {
		problems = append(problems, err)
	}
	if c.secrets, err = secret.ParsePlace(c.SecretsKeyFile, c.SecretsKMSKey); err != nil {
		problems = append(problems, err)
	}
	if c.DataDir != "" {
		if c.DataDir, err = filepath.Abs(c.DataDir); err == nil {
			err = os.MkdirAll(c.DataDir, 0o700)
		}
		if err != nil {
			problems = append(problems, fmt.Errorf("DATA_DIR: %w", err))
		}
	}
	return c, errors.Join(problems...)
}

// timing is production's, with what the environment changes.
func (c config) timing() runner.Timing {
	t := runner.DefaultTiming()
	t.QRFirst, t.QRNext = c.QRFirst, c.QRNext
	t.Probe = c.KeepAliveDeadline
	t.Patience = c.UnlinkPatience
	t.Silence = c.globals().KeepAliveMax + c.KeepAliveDeadline + t.Probe
	return t
}

// supervisor lets claim what connects within half a second.
func (c config) supervisor(pacer *rate.Limiter) supervisor.Config {
	turns := func() int { return int(pacer.Tokens()) + (c.Connects+1)/2 }
	return supervisor.Config{Slots: c.Slots, Connects: c.Connects, Moves: c.Moves, Turns: turns}
}

// globals spreads pings by a fifth, so that sessions do not ping together.
func (c config) globals() whatsapp.Globals {
	return whatsapp.Globals{
		RootKey:           c.endpoint.RootKey,
		KeepAliveMin:      c.KeepAlive * 4 / 5,
		KeepAliveMax:      c.KeepAlive * 6 / 5,
		KeepAliveDeadline: c.KeepAliveDeadline,
	}
}
