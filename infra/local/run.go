package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"time"

	"github.com/wafleet/wafleet/functions/access"
	"github.com/wafleet/wafleet/functions/control"
	"github.com/wafleet/wafleet/functions/httpapi"
	"github.com/wafleet/wafleet/infra/local/logs"
	"github.com/wafleet/wafleet/shared/child"
	"github.com/wafleet/wafleet/shared/secret"
	"github.com/wafleet/wafleet/shared/session"
	"github.com/wafleet/wafleet/shared/telemetry"
)

// run starts everything, waits for the end and stops everything, in the order
// that the package comment draws: each deferred stop undoes the start above it.
func run(ctx, hurry context.Context, set settings, screen *console) (err error) {
	began := time.Now()
	binary, err := beside("connector")
	if err != nil {
		return err
	}
	guard, err := beside("guard")
	if err != nil {
		return err
	}
	data, err := openDataDir(set.Data)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, data.close()) }()
	open, err := openPorts(set)
	if err != nil {
		return err
	}
	defer open.close()
	defer func() { err = plannedEnd(ctx, err, screen) }()

	dir := logs.Dir{Path: data.in("logs"), Show: screen.Line, All: set.LogAll}
	parts, err := openLogs(dir, "postgres", "wasim", "api")
	if err != nil {
		return err
	}
	defer parts.close()
	if err := os.MkdirAll(data.in("devices"), 0o700); err != nil {
		return fmt.Errorf("data directory: %w", err)
	}
	key, err := keyOf(set.APIKey, data.in("apikey"))
	if err != nil {
		return err
	}

	secrets, err := secretsKey(data)
	if err != nil {
		return err
	}

	chosen := make(chan endpoint, 1)
	go func() { chosen <- chooseEndpoint(ctx, set, whatsAppAnswers) }()
	db, err := startDatabase(ctx, set, data, parts["postgres"], screen)
	to := <-chosen
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, db.stop(hurry)) }()
	if err := db.admitOnly(ctx, key); err != nil {
		return err
	}

	to, stopSimulator, err := connect(ctx, to, set, data, db, open.control, parts["wasim"])
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, stopSimulator(hurry)) }()

	fleet, err := startFleet(ctx, hurry, fleetConfig{
		members: set.Connectors, connector: binary, tenures: data.in("run"), logs: dir, screen: screen,
		program: child.Program{Path: guard, Env: connectorEnvironment(set, data, db.url, to), Grace: connectorGrace},
	})
	if err != nil {
		return err
	}
	defer fleet.stop()
	if err := fleet.awaitRegistered(ctx); err != nil {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		screen.Line(screen.Loud(err.Error()))
	}

	api := serveHTTP(open.api, apiHandler(set, db, secrets, parts["api"]), telemetry.New(parts["api"], slog.LevelInfo))
	defer api.stop(hurry)
	if err := announce(set, data, key, db.url, to); err != nil {
		return err
	}
	defer os.Remove(runFilePath(data.path))
	screen.Print(summary{set: set, to: to, key: key, postgres: db.where, data: data.path, connectors: fleet.addresses(), took: time.Since(began)}.text(screen))

	watched := watch(ctx, db, db.tenant, screen)
	defer watched.Wait()
	return awaitEnd(ctx, db, api)
}

// connect makes the chosen WhatsApp available and returns how to get there.
func connect(ctx context.Context, to endpoint, set settings, data *dataDir, db *database, control net.Listener, log *logs.Log) (endpoint, func(context.Context) error, error) {
	nothing := func(context.Context) error { return nil }
	if to.choice == chooseSimulator {
		sim, err := startSimulator(data, control, log)
		if err != nil {
			return to, nothing, err
		}
		err = checkLinks(ctx, data, db, db.tenant, sim.devices())
		if err == nil {
			return sim.direct(to), sim.stop, nil
		}
		if err = errors.Join(err, sim.stop(ctx)); !errors.Is(err, errLinkedElsewhere) || set.WhatsApp == "sim" {
			return to, nothing, err
		}
		to = endpoint{choice: chooseReal, because: "sessions on this data are linked there, although " + to.because}
	} else if control != nil {
		_ = control.Close() // nobody needs it
	}
	if to.choice == chooseReal {
		return to, nothing, markReal(data)
	}
	return to, nothing, nil
}

// awaitEnd returns when somebody wants the end, or when a part has ended that
// the rest cannot do without.
func awaitEnd(ctx context.Context, db *database, api *httpServer) error {
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-db.gone():
		return errors.New("postgres ended by itself; its log is logs/postgres.log in the data directory")
	case <-api.ended:
		return fmt.Errorf("the API ended by itself: %w", api.err)
	}
}

// plannedEnd turns the end that was asked for into success. Errors of an
// impatient stop are of no interest either.
func plannedEnd(ctx context.Context, err error, screen *console) error {
	if ctx.Err() == nil {
		return err
	}
	screen.Step("stopped")
	return nil
}

func apiHandler(set settings, db *database, secrets *secret.Box, log *logs.Log) *httpapi.Handler {
	level, _ := telemetry.ParseLevel(set.LogLevel) // checked with the settings
	cases := control.New(db.Store, control.Config{Defaults: session.Defaults{Dialect: set.Dialect}, SQLiteAvailable: true, Secrets: secrets})
	origins, _ := httpapi.ParseOrigins(set.CORSOrigins) // checked with the settings
	return httpapi.New(cases, access.New(db.Store, accessConfig()), httpapi.Config{Log: telemetry.New(log, level), Version: telemetry.Version(version), CORSOrigins: origins})
}

// accessConfig accepts keys that somebody chose, of any length: the API listens
// on the loopback only.
func accessConfig() access.Config {
	config := access.DefaultConfig()
	config.WeakKeys = true
	return config
}

// announce tells the other commands how to reach this run.
func announce(set settings, data *dataDir, key, databaseURL string, to endpoint) error {
	r := runFile{Port: set.Port, APIKey: key, DatabaseURL: databaseURL}
	if to.choice == chooseSimulator {
		r.ControlPort = set.ControlPort
	}
	if err := r.write(runFilePath(data.path)); err != nil {
		return fmt.Errorf("announce the run: %w", err)
	}
	return nil
}

// partLogs are the logs of what runs in this process.
type partLogs map[string]*logs.Log

func openLogs(dir logs.Dir, names ...string) (partLogs, error) {
	opened := partLogs{}
	for _, name := range names {
		log, err := dir.Open(name)
		if err != nil {
			opened.close()
			return nil, fmt.Errorf("log of %s: %w", name, err)
		}
		opened[name] = log
	}
	return opened, nil
}

func (p partLogs) close() {
	for _, log := range p {
		_ = log.Close() // nothing is buffered
	}
}
