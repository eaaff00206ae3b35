// Command migrate brings the database to the schema of this version.
//
//	DATABASE_URL=postgres://... migrate
//
// It reads only DATABASE_URL (a flag would show the password in the process
// list), prints each step, and does nothing where the schema is up to date.
// Migrations go forward only; old and new versions of the other programs may
// run while it works. Exit codes: 0 done, 1 failed, 2 wrong use.
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

	"github.com/caarlos0/env/v11"
	"github.com/wafleet/wafleet/shared/schema"
)

type config struct {
	DatabaseURL string        `env:"DATABASE_URL,required,notEmpty"`
	Timeout     time.Duration `env:"MIGRATE_TIMEOUT" envDefault:"10m"` // for all steps together
}

func main() { os.Exit(run(os.Args[1:], os.Stdout, os.Stderr)) }

func run(args []string, out, problems io.Writer) int {
	settings, err := env.ParseAs[config]()
	if err != nil || len(args) > 0 || settings.Timeout <= 0 {
		fmt.Fprintln(problems, "usage: DATABASE_URL=postgres://user:password@host/name?sslmode=verify-full [MIGRATE_TIMEOUT=10m] migrate")
		return 2
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, os.Interrupt)
	defer stop()
	ctx, cancel := context.WithTimeout(ctx, settings.Timeout)
	defer cancel()
	started := time.Now()
	if err := schema.Migrate(ctx, settings.DatabaseURL, slog.New(slog.NewTextHandler(out, nil))); err != nil {
		fmt.Fprintln(problems, "migrate:", err)
		return 1
	}
	fmt.Fprintf(out, "the database is up to date (%s)\n", time.Since(started).Round(time.Millisecond))
	return 0
}
