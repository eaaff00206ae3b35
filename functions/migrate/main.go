package main

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/wafleet/wafleet/shared/settings"
	"github.com/wafleet/wafleet/shared/telemetry"
)

// version is set by the release build with -ldflags "-X main.version=1.2.3".
var version string

func main() {
	if settings.Asked(os.Args[1:]) {
		os.Exit(settings.Show(os.Stdout, os.Stderr, readConfig))
	}
	os.Exit(run(os.Args[1:], os.Stdout, os.Stderr))
}

// run returns the exit code: 0 done, 1 failed, 2 wrong use.
func run(args []string, out, problems io.Writer) int {
	if len(args) > 0 {
		fmt.Fprintln(problems, "usage: DATABASE_URL=postgres://user:password@host/name?sslmode=verify-full [MIGRATE_TIMEOUT=10m] migrate [-print-config]")
		return 2
	}
	c, err := readConfig()
	if os.Getenv("AWS_LAMBDA_RUNTIME_API") != "" {
		log := telemetry.New(problems, slog.LevelInfo)
		slog.SetDefault(log)
		log.Info("migrate starts", "version", telemetry.Version(version))
		serveLambda(newMigrator(c, err, log))
		return 0
	}
	if err != nil {
		return settings.Refuse(problems, err)
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, os.Interrupt)
	defer stop()
	ctx, cancel := context.WithTimeout(ctx, c.Timeout)
	defer cancel()
	started := time.Now()
	if _, err := migrate(ctx, c, slog.New(slog.NewTextHandler(out, nil))); err != nil {
		fmt.Fprintln(problems, "migrate:", err)
		return 1
	}
	fmt.Fprintf(out, "the database is up to date (%s)\n", time.Since(started).Round(time.Millisecond))
	return 0
}
