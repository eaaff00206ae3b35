// Command lambdarun runs a built Lambda program against event files and prints
// what it answers:
//
//	DATABASE_URL=postgres://... lambdarun -bootstrap ./bootstrap functions/api/events/start.json
//
// The program gets this command's environment. Its log goes to stderr, one
// answer per event to stdout. Exit codes: 0 all answered, 1 one failed, 2 wrong
// use.
package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"

	"github.com/wafleet/wafleet/shared/e2e/lambdarun"
)

func main() { os.Exit(run(os.Args[1:], os.Stdout, os.Stderr)) }

func run(args []string, out, log io.Writer) int {
	flags := flag.NewFlagSet("lambdarun", flag.ContinueOnError)
	flags.SetOutput(log)
	bootstrap := flags.String("bootstrap", "./bootstrap", "the built `program`")
	if err := flags.Parse(args); err != nil {
		return 2
	}
	if flags.NArg() == 0 {
		fmt.Fprintln(log, "usage: lambdarun [-bootstrap program] event.json ...")
		return 2
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, os.Interrupt)
	defer stop()
	if err := invokeAll(ctx, *bootstrap, flags.Args(), out, log); err != nil {
		fmt.Fprintln(log, "lambdarun:", err)
		return 1
	}
	return 0
}

func invokeAll(ctx context.Context, bootstrap string, files []string, out, log io.Writer) (err error) {
	runtime, err := lambdarun.Start(ctx, lambdarun.Config{Bootstrap: bootstrap, Env: os.Environ(), Log: log})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, runtime.Stop()) }()
	fmt.Fprintf(log, "ready after %s\n", runtime.ColdStart())
	for _, file := range files {
		if err := invoke(ctx, runtime, file, out, log); err != nil {
			return fmt.Errorf("%s: %w", file, err)
		}
	}
	return nil
}

func invoke(ctx context.Context, runtime *lambdarun.Runtime, file string, out, log io.Writer) error {
	event, err := os.ReadFile(file) // #nosec G304 -- the file that its caller names
	if err != nil {
		return err
	}
	answer, err := runtime.Invoke(ctx, event)
	if err != nil {
		return err
	}
	fmt.Fprintf(log, "%s answered after %s\n", file, answer.Took)
	if answer.Failure != nil {
		return fmt.Errorf("the invocation failed: %s", answer.Failure)
	}
	var pretty bytes.Buffer
	if json.Indent(&pretty, answer.Payload, "", "  ") != nil {
		pretty.Write(answer.Payload)
	}
	_, err = fmt.Fprintln(out, pretty.String())
	return err
}
