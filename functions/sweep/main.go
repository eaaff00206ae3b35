package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/wafleet/wafleet/shared/settings"
	"github.com/wafleet/wafleet/shared/store"
	"github.com/wafleet/wafleet/shared/telemetry"
)

// version is set by the release build with -ldflags "-X main.version=1.2.3".
var version = "dev"

// minPause keeps a typing error from becoming load on the database.
const minPause = time.Second

func main() {
	if settings.Asked(os.Args[1:]) {
		os.Exit(settings.Show(os.Stdout, os.Stderr, readConfig))
	}
	os.Exit(run(os.Args[1:], os.Stdout, os.Stderr))
}

// run returns the exit code: 0 done, 1 failed, 2 wrong command line or
// environment.
func run(args []string, out, problems io.Writer) int {
	flags := flag.NewFlagSet("sweep", flag.ContinueOnError)
	flags.SetOutput(problems)
	pause := flags.Duration("every", 0, "sweep again after this `pause` until SIGTERM; once where it is not given")
	if err := flags.Parse(args); err != nil {
		return 2
	}
	if flags.NArg() > 0 || (*pause != 0 && *pause < minPause) {
		fmt.Fprintln(problems, "usage: DATABASE_URL=postgres://... sweep [-every 30s | -print-config]   (1s at least)")
		return 2
	}
	c, err := readConfig()
	if err != nil {
		return settings.Refuse(problems, err)
	}
	log := telemetry.New(problems, c.LogLevel)
	slog.SetDefault(log)
	if err := serve(c, *pause, out, log); err != nil {
		log.Error("sweep ended", "error", err.Error())
		return 1
	}
	return 0
}

// serve opens the store, which does not connect yet, and blocks.
func serve(c config, pause time.Duration, out io.Writer, log *slog.Logger) error {
	opened, err := c.Database.Open(store.Options{MaxOpen: 1, ApplicationName: "wafleet-sweep"})
	if err != nil {
		return err
	}
	defer opened.Close()
	sweeper := sweeper{fleet: opened, log: log, auditKeep: c.AuditKeep}
	if os.Getenv("AWS_LAMBDA_RUNTIME_API") != "" {
		log.Info("sweep starts", "version", version)
		serveLambda(dispatcher{sweeper: sweeper, metrics: telemetry.NewMetricWriter(out, c.Fleet)}, opened.Close)
		return nil
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, os.Interrupt)
	defer stop()
	show := func(found summary) error { return json.NewEncoder(out).Encode(found) }
	if pause > 0 {
		return sweeper.every(ctx, pause, show)
	}
	found, err := sweeper.sweep(ctx)
	if err != nil {
		return err
	}
	return show(found)
}
