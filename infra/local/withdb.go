package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"syscall"

	"github.com/wafleet/wafleet/infra/local/logs"
)

// withDatabaseCommand runs another program on the system's database, so that a
// function can be tried by hand: the one of the system that runs, or else a
// private Postgres on the same data for as long as it takes. API_KEY is accepted
// by that database until the next run.
type withDatabaseCommand struct {
	Command []string `arg:"" passthrough:"" help:"Program and arguments; it finds DATABASE_URL and DATA_DIR in its environment."`
}

// Run implements the command.
func (w *withDatabaseCommand) Run(c *commands, _ *console) (err error) {
	set, err := readSettings(os.Environ(), c.Data)
	if err != nil {
		return err
	}
	ctx, hurry, end := signals()
	defer end()
	screen := newConsole(os.Stderr, false) // the program's output is its own
	data, err := openDataDir(set.Data)
	if running := readRunFile(runFilePath(set.Data)); err != nil && running.DatabaseURL != "" {
		set.DatabaseURL = running.DatabaseURL
		data = &dataDir{path: set.Data}
	} else if err != nil {
		return err
	} else {
		defer func() { err = errors.Join(err, data.close()) }()
	}
	key, err := keyOf(set.APIKey, data.in("apikey"))
	if err != nil {
		return err
	}
	log, err := logs.Dir{Path: data.in("logs"), Show: screen.Line}.Open("with-database")
	if err != nil {
		return err
	}
	defer log.Close()
	db, err := startDatabase(ctx, set, data, log, screen)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, db.stop(hurry)) }()
	if _, err := db.admit(ctx, key, invokedKeyName); err != nil {
		return err
	}
	if _, err := secretsKey(data); err != nil {
		return err
	}
	return w.execute(ctx, db.url, data)
}

// execute runs the program to its end; a signal to this process ends it.
func (w *withDatabaseCommand) execute(ctx context.Context, databaseURL string, data *dataDir) error {
	cmd := exec.CommandContext(ctx, w.Command[0], w.Command[1:]...) // #nosec G204 -- running the command of its caller is what it is for
	cmd.Env = append(os.Environ(), "DATABASE_URL="+databaseURL, "DATA_DIR="+data.in("devices"), "SECRETS_KEY_FILE="+secretsKeyPath(data))
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	cmd.WaitDelay = connectorGrace
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("%s: %w", w.Command[0], err)
	}
	return nil
}
