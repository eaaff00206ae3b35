// Command connector is one process of the fleet: it claims sessions, runs them
// at WhatsApp and writes their status back, until it is told to leave.
//
// Without arguments it runs; "connector healthcheck" asks the one that runs on
// this machine whether it is alive, and "connector -print-config" shows what one
// would run with. Everything else is in the environment; see
// the table in the README.
package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/wafleet/wafleet/connector/health"
	"github.com/wafleet/wafleet/connector/memory"
	"github.com/wafleet/wafleet/shared/settings"
	"github.com/wafleet/wafleet/shared/telemetry"
)

// version is set at link time: -ldflags '-X main.version=...'.
var version = "dev"

func main() {
	if settings.Asked(os.Args[1:]) {
		os.Exit(settings.Show(os.Stdout, os.Stderr, readConfig))
	}
	switch err := run(os.Args[1:]); {
	case err == nil:
	case errors.Is(err, settings.ErrEnvironment):
		os.Exit(settings.Refuse(os.Stderr, err))
	default:
		fmt.Fprintln(os.Stderr, "connector:", err)
		os.Exit(1)
	}
}

// samePress is how long signals count as one: a guard passes on what a service
// manager has sent to every process already, on a busy machine a moment later.
const samePress = 2 * time.Second

func run(args []string) error {
	switch {
	case len(args) == 0:
	case len(args) == 1 && args[0] == "healthcheck":
		ctx, cancel := context.WithTimeout(context.Background(), 3*time.Second)
		defer cancel()
		address := os.Getenv("LISTEN")
		if address == "" {
			address = "127.0.0.1:9090"
		}
		return health.Check(ctx, address)
	default:
		return errors.New("usage: connector [healthcheck | -print-config]")
	}
	c, err := readConfig()
	if err != nil {
		return err
	}
	log := telemetry.New(os.Stderr, c.LogLevel)
	// Nothing of a library may bypass the redaction.
	slog.SetDefault(log)
	memory.Limit(log)
	listener, err := net.Listen("tcp", c.Listen)
	if err != nil {
		return fmt.Errorf("LISTEN: %w", err)
	}
	// The first signal begins the drain; a second one ends the process at once. Until
	// then signals stay caught to the very end: one that is passed on while the
	// process ends in order must not change how.
	intake, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	context.AfterFunc(intake, func() { time.AfterFunc(samePress, stop) })
	process, err := newProcess(c, listener, log)
	if err != nil {
		listener.Close()
		return err
	}
	defer process.close()
	return process.run(intake)
}
