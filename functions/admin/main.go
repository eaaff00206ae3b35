package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/alecthomas/kong"

	"github.com/wafleet/wafleet/functions/access"
	"github.com/wafleet/wafleet/shared/settings"
	"github.com/wafleet/wafleet/shared/store"
	"github.com/wafleet/wafleet/shared/telemetry"
)

// version is set by the release build with -ldflags "-X main.version=1.2.3".
var version string

// commandTimeout bounds a command on the command line; under Lambda the
// function's own timeout does.
const commandTimeout = 30 * time.Second

// commandLine is what a person may write.
type commandLine struct {
	JSON bool `name:"json" help:"Answer with one JSON object."`
	commands
	CreateSecretsKey createSecretsKey `cmd:"" help:"Make the file that SECRETS_KEY_FILE names, with a fresh key."`
}

func main() {
	if settings.Asked(os.Args[1:]) {
		os.Exit(settings.Show(os.Stdout, os.Stderr, readConfig))
	}
	os.Exit(run(os.Args[1:], os.Stdout, os.Stderr))
}

// run returns the exit code: 0 done, 1 failed, 2 wrong command line or
// environment.
func run(args []string, out, problems io.Writer) int {
	if os.Getenv("AWS_LAMBDA_RUNTIME_API") != "" {
		return runLambda(problems)
	}
	var parsed commandLine
	line, code, done := parseLine(&parsed, args, out, problems)
	if done {
		return code
	}
	c, err := readConfig()
	if err != nil {
		return settings.Refuse(problems, err)
	}
	if err := execute(c, selected(line), parsed.JSON, out, problems); err != nil {
		fmt.Fprintln(problems, "wafleet:", explain(err))
		return 1
	}
	return 0
}

// parseLine is done where there is nothing to execute: the help was asked for,
// or the line is wrong.
func parseLine(into *commandLine, args []string, out, problems io.Writer) (line *kong.Context, code int, done bool) {
	helped := false
	parser, err := kong.New(into, kong.Name("wafleet"), description, kong.Writers(out, problems), kong.Exit(func(int) { helped = true }))
	if err == nil {
		line, err = parser.Parse(args)
	}
	switch {
	case helped:
		return nil, 0, true
	case err != nil:
		fmt.Fprintln(problems, "wafleet:", err)
		fmt.Fprintln(problems, "wafleet --help lists the commands, wafleet COMMAND --help the flags of one.")
		return nil, 2, true
	}
	return line, 0, false
}

func execute(c config, chosen command, asJSON bool, out, notices io.Writer) error {
	opened, err := open(c)
	if err != nil {
		return err
	}
	defer opened.Close()
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, os.Interrupt)
	defer stop()
	ctx, cancel := context.WithTimeout(ctx, commandTimeout)
	defer cancel()
	said, err := chosen.do(ctx, deskOf(opened, c))
	if err != nil {
		return err
	}
	if asJSON {
		return json.NewEncoder(out).Encode(said)
	}
	said.text(out, notices)
	return nil
}

// open prepares one connection; it does not connect yet.
func open(c config) (*store.Store, error) {
	return c.Database.Open(store.Options{MaxOpen: 1, ApplicationName: "wafleet-admin"})
}

func deskOf(opened *store.Store, c config) desk {
	return desk{access: access.New(opened, access.Config{}), secrets: secrets{c.SecretsKMSKey, opened}}
}

func runLambda(problems io.Writer) int {
	c, err := readConfig()
	if err != nil {
		return settings.Refuse(problems, err)
	}
	log := telemetry.New(problems, c.LogLevel)
	slog.SetDefault(log)
	opened, err := open(c)
	if err != nil {
		log.Error("wafleet ended", "error", err.Error())
		return 1
	}
	defer opened.Close()
	log.Info("wafleet starts", "version", telemetry.Version(version))
	serveLambda(deskOf(opened, c), log, opened.Close)
	return 0
}
