package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"syscall"

	"github.com/wafleet/wafleet/functions/access"
	"github.com/wafleet/wafleet/functions/control"
	"github.com/wafleet/wafleet/functions/httpapi"
	"github.com/wafleet/wafleet/shared/session"
	"github.com/wafleet/wafleet/shared/settings"
	"github.com/wafleet/wafleet/shared/startqueue"
	"github.com/wafleet/wafleet/shared/store"
	"github.com/wafleet/wafleet/shared/telemetry"
)

// version is set by the release build with -ldflags "-X main.version=1.2.3".
var version string

// defaultMaxOpen is the cap of connections with -listen.
const defaultMaxOpen = 10

func main() {
	if settings.Asked(os.Args[1:]) {
		os.Exit(settings.Show(os.Stdout, os.Stderr, readConfig))
	}
	os.Exit(run(os.Args[1:], os.Stderr))
}

// run returns the exit code: 2 for a wrong command line or environment.
func run(args []string, out io.Writer) int {
	flags := flag.NewFlagSet("api", flag.ContinueOnError)
	flags.SetOutput(out)
	listen := flags.String("listen", "", "serve HTTP on this `address` instead of Lambda events")
	if err := flags.Parse(args); err != nil {
		return 2
	}
	underLambda := os.Getenv("AWS_LAMBDA_RUNTIME_API") != ""
	if flags.NArg() > 0 || (*listen == "" && !underLambda) {
		fmt.Fprintln(out, "usage: api -listen host:port | -print-config   (without it, api has to be started by AWS Lambda)")
		return 2
	}
	c, err := readConfig()
	if err != nil {
		return settings.Refuse(out, err)
	}
	log := slog.New(slog.NewJSONHandler(out, &slog.HandlerOptions{Level: c.LogLevel}))
	slog.SetDefault(log)
	if err := serve(c, *listen, log); err != nil {
		log.Error("api ended", "error", err.Error())
		return 1
	}
	return 0
}

// serve opens the store, which does not connect yet, and blocks.
func serve(c config, listen string, log *slog.Logger) error {
	maxOpen := c.DatabaseMaxOpen
	if maxOpen == 0 && listen != "" {
		maxOpen = defaultMaxOpen
	}
	opened, err := c.Database.Open(store.Options{MaxOpen: maxOpen, ApplicationName: "wafleet-api"})
	if err != nil {
		return err
	}
	defer opened.Close()
	use := c.control()
	if box := c.secrets.Box(opened); box != nil {
		use.Secrets = box
	}
	if use.Defaults.Dialect == session.SQLite && !use.SQLiteAvailable {
		log.Warn("sessions without config.store are refused: DEFAULT_STORE_DIALECT is sqlite3 and there is no DATA_DIR")
	}
	counts := &metrics{out: telemetry.NewMetricWriter(os.Stdout, c.Fleet), wait: opened.PoolWait, log: log}
	if c.QueueURL != "" {
		queue, err := startqueue.Open(context.Background(), c.QueueURL)
		if err != nil {
			return fmt.Errorf("QUEUE_URL: %w", err)
		}
		use.Hints = startqueue.NewSender(queue, counts, log)
	}
	serves := httpapi.Config{Log: log, Version: telemetry.Version(version), CORSOrigins: c.origins}
	if listen == "" {
		serves.Observer = counts
	}
	handler := httpapi.New(control.New(opened, use), access.New(opened, c.access()), serves)
	log.Info("api starts", "version", telemetry.Version(version), "config", c)
	if listen == "" {
		serveLambda(dispatcher{handler: handler, warm: opened.Ping, log: log}, opened.Close)
		return nil
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, os.Interrupt)
	defer stop()
	return serveHTTP(ctx, listen, handler, log)
}
