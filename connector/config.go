package main

import (
	"fmt"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/time/rate"

	"github.com/wafleet/wafleet/connector/lease"
	"github.com/wafleet/wafleet/connector/runner"
	"github.com/wafleet/wafleet/connector/supervisor"
	"github.com/wafleet/wafleet/connector/whatsapp"
	"github.com/wafleet/wafleet/shared/secret"
	"github.com/wafleet/wafleet/shared/settings"
	"github.com/wafleet/wafleet/shared/startqueue"
)

// config is the environment of a connector.
type config struct {
	settings.Database
	DatabaseMax int    `env:"DATABASE_MAX_CONNS" envDefault:"12"`
	Slots       int    `env:"SLOTS" envDefault:"200"`
	DataDir     string `env:"DATA_DIR"`
	Listen      string `env:"LISTEN" envDefault:"127.0.0.1:9090"`
	Connects    int    `env:"CONNECTS_PER_SECOND" envDefault:"25"`
	Moves       int    `env:"REBALANCE_PER_SECOND" envDefault:"1"`

	// LogLevel is DEBUG, INFO, WARN or ERROR, in any case.
	LogLevel settings.Level `env:"LOG_LEVEL" envDefault:"INFO"`

	// QueueURL is the SQS queue that start hints come by; empty: none.
	QueueURL string `env:"QUEUE_URL"`

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

	lease    lease.Config
	endpoint whatsapp.Endpoint
	secrets  secret.Place
}

// readConfig reads and checks the environment; every mistake is reported at
// once.
func readConfig() (config, error) {
	c, wrong := settings.Read[config]()
	c.Database.Check(wrong)
	wrong.Unless(c.DatabaseMax >= minConns, "DATABASE_MAX_CONNS must be at least %d", minConns)
	wrong.Unless(c.Slots > 0, "SLOTS must be positive")
	wrong.Unless(c.Connects > 0, "CONNECTS_PER_SECOND must be positive")
	wrong.Unless(c.Moves >= 0 && c.Moves <= 1000, "REBALANCE_PER_SECOND must be from 0 (off) to 1000")
	wrong.Unless(c.QRFirst > 0, "QR_FIRST must be positive")
	wrong.Unless(c.QRNext > 0, "QR_NEXT must be positive")
	wrong.Unless(c.UnlinkPatience > 0, "UNLINK_PATIENCE must be positive")
	wrong.Unless(c.KeepAlive > 0, "WHATSAPP_KEEPALIVE must be positive")
	wrong.Unless(c.KeepAliveDeadline > 0, "WHATSAPP_KEEPALIVE_DEADLINE must be positive")
	var err error
	if c.lease, err = (lease.Config{TTL: c.LeaseTTL}).WithDefaults(); err != nil {
		wrong.Add(fmt.Errorf("LEASE_TTL %w", err))
	}
	c.endpoint, err = whatsapp.ParseEndpoint(c.DialAddr, c.TLSCA, c.NoiseRootKey)
	wrong.Add(err)
	c.secrets, err = secret.ParsePlace(c.SecretsKeyFile, c.SecretsKMSKey)
	wrong.Add(err)
	if c.QueueURL != "" {
		if err := startqueue.CheckURL(c.QueueURL); err != nil {
			wrong.Add(fmt.Errorf("QUEUE_URL %w", err))
		}
	}
	if c.DataDir != "" {
		if c.DataDir, err = filepath.Abs(c.DataDir); err == nil {
			err = os.MkdirAll(c.DataDir, 0o700)
		}
		if err != nil {
			wrong.Add(fmt.Errorf("DATA_DIR %w", err))
		}
	}
	return c, wrong.Err()
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
