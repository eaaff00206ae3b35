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
	"github.com/wafleet/wafleet/shared/store"
	"github.com/wafleet/wafleet/shared/telemetry"
)

// version is set by the release build with -ldflags "-X main.version=1.2.3".
var version string

// defaultMaxOpen is the cap of connections with -listen.
const defaultMaxOpen = 10

func main() { os.Exit(run(os.Args[1:], os.Stderr)) }

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
		fmt.Fprintln(out, "usage: api -listen host:port   (without it, api has to be started by AWS Lambda)")
		return 2
	}
	settings, err := readConfig()
	if err != nil {
		fmt.Fprintln(out, "the environment is wrong:")
		fmt.Fprintln(out, err)
		return 2
	}
	log := slog.New(slog.NewJSONHandler(out, &slog.HandlerOptions{Level: settings.LogLevel}))
	slog.SetDefault(log)
	if err := serve(settings, *listen, log); err != nil {
		log.Error("api ended", "error", err.Error())
		return 1
	}
	return 0
}

// serve opens the store, which does not connect yet, and blocks.
func serve(settings config, listen string, log *slog.Logger) error {
	maxOpen := settings.DatabaseMaxOpen
	if maxOpen == 0 && listen != "" {
		maxOpen = defaultMaxOpen
	}
	opened, err := store.Open(settings.DatabaseURL, store.Options{MaxOpen: maxOpen, ApplicationName: "wafleet-api"})
	if err != nil {
		return err
	}
	defer opened.Close()
	use := settings.control()
	if box := settings.secrets.Box(opened); box != nil {
		use.Secrets = box
	}
	if use.Defaults.Dialect == session.SQLite && !use.SQLiteAvailable {
		log.Warn("sessions without config.store are refused: DEFAULT_STORE_DIALECT is sqlite3 and there is no DATA_DIR")
	}
	cases := control.New(opened, use)
	handler := httpapi.New(cases, access.New(opened, settings.access()), httpapi.Config{Log: log, Version: telemetry.Version(version), CORSOrigins: settings.origins})
	log.Info("api starts", "version", telemetry.Version(version), "config", settings)
	if listen == "" {
		serveLambda(dispatcher{handler: handler, warm: opened.Ping, log: log}, opened.Close)
		return nil
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, os.Interrupt)
	defer stop()
	return serveHTTP(ctx, listen, handler, log)
}
