// Command pgtest runs a command with a fresh Postgres for its tests:
//
//	pgtest -- go test ./...
//
// It starts one server, sets WAFLEET_TEST_DATABASE_URL, passes signals on, stops the server when the command has ended and
// exits with the command's code (128 + signal if it was killed). If the variable is set already it starts nothing. Note
// that `go run` makes 1 of every failure's code.
package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"os/signal"
	"syscall"
	"time"

	"github.com/wafleet/wafleet/shared/pgserver"
	"github.com/wafleet/wafleet/shared/pgtest"
)

const (
	// usageCode and failureCode are a shell's: wrong use, and a command that could not be run.
	usageCode   = 2
	failureCode = 126
	// stopTimeout bounds the server's shutdown.
	stopTimeout = 10 * time.Second
)

func main() { os.Exit(run(os.Args[1:])) }

func run(args []string) int {
	if len(args) > 0 && args[0] == "--" {
		args = args[1:]
	}
	if len(args) == 0 {
		fmt.Fprintln(os.Stderr, "usage: pgtest -- command [argument ...]")
		return usageCode
	}
	// Caught from here on, so that no signal leaves a server behind.
	signals := make(chan os.Signal, 8)
	signal.Notify(signals, syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP, syscall.SIGQUIT)
	defer signal.Stop(signals)

	if os.Getenv(pgtest.EnvURL) != "" {
		return runCommand(args, os.Environ(), signals)
	}
	server, err := start(signals)
	if err != nil {
		fmt.Fprintln(os.Stderr, "pgtest:", err)
		return failureCode
	}
	code := runCommand(args, append(os.Environ(), pgtest.EnvURL+"="+server.URL("postgres")), signals)
	ctx, cancel := context.WithTimeout(context.Background(), stopTimeout)
	defer cancel()
	if err := server.Stop(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "pgtest: stop:", err)
		code = max(code, 1)
	}
	return code
}

// start gives up when a signal comes first.
func start(signals <-chan os.Signal) (*pgserver.Server, error) {
	ctx, cancel := context.WithCancelCause(context.Background())
	defer cancel(nil)
	type result struct {
		server *pgserver.Server
		err    error
	}
	started := make(chan result, 1)
	go func() {
		server, err := pgserver.Start(ctx, pgserver.Config{
			Fast:           true,
			MaxConnections: pgtest.MaxConnections,
			Log:            slog.New(slog.NewTextHandler(os.Stderr, nil)),
		})
		started <- result{server, err}
	}()
	select {
	case r := <-started:
		return r.server, r.err
	case sig := <-signals:
		cancel(fmt.Errorf("stopped by signal: %s", sig))
		r := <-started
		if r.err == nil {
			r.err = errors.Join(context.Cause(ctx), r.server.Stop(context.Background()))
		}
		return nil, r.err
	}
}

// runCommand runs the command to its end, signals passed on, and returns its exit code.
func runCommand(args, env []string, signals <-chan os.Signal) int {
	cmd := exec.Command(args[0], args[1:]...) // #nosec G204 G702 -- running the command of its caller is what it is for
	cmd.Env = env
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	if err := cmd.Start(); err != nil {
		fmt.Fprintln(os.Stderr, "pgtest:", err)
		return failureCode
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	for {
		select {
		case sig := <-signals:
			// It fails only if the command has ended, which the other case sees.
			_ = cmd.Process.Signal(sig)
		case err := <-ended:
			return exitCode(cmd, err)
		}
	}
}

func exitCode(cmd *exec.Cmd, err error) int {
	if status, ok := cmd.ProcessState.Sys().(syscall.WaitStatus); ok && status.Signaled() {
		return 128 + int(status.Signal())
	}
	if code := cmd.ProcessState.ExitCode(); code != 0 || err == nil {
		return code
	}
	fmt.Fprintln(os.Stderr, "pgtest:", err)
	return 1
}
