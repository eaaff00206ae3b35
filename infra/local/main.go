package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/alecthomas/kong"
	"golang.org/x/term"

	environment "github.com/wafleet/wafleet/shared/settings"
)

// version is set by a release build with -ldflags "-X main.version=1.2.3".
var version string

const defaultData = ".data"

// commands is the command line.
type commands struct {
	Data string `default:"${data}" placeholder:"DIR" help:"Directory that keeps all state."`

	Run  runCommand  `cmd:"" default:"withargs" help:"Run the whole system until Ctrl-C. Everything is set by environment variables, see the README."`
	Scan scanCommand `cmd:"" help:"Let the simulated phone scan the QR code of a session."`

	WithDatabase withDatabaseCommand `cmd:"" help:"Run another program on the system's database."`
}

func main() {
	if environment.Asked(os.Args[1:]) {
		os.Exit(environment.Show(os.Stdout, os.Stderr, func() (settings, error) { return readSettings(os.Environ(), defaultData) }))
	}
	var parsed commands
	command := kong.Parse(&parsed, kong.Name("wafleet-local"), kong.Description("The whole of wafleet on one machine."), kong.UsageOnError(), kong.Vars{"data": defaultData})
	screen := newConsole(os.Stdout, term.IsTerminal(int(os.Stdout.Fd())))
	err := command.Run(&parsed, screen)
	if err == nil {
		return
	}
	fmt.Fprintln(os.Stderr, "wafleet:", err)
	var mistake *settingsError
	if errors.As(err, &mistake) {
		os.Exit(2)
	}
	os.Exit(1)
}

type runCommand struct {
	Attached bool `help:"End when the process that started this one is gone."`
}

// Run implements the command.
func (r *runCommand) Run(c *commands, screen *console) error {
	set, err := readSettings(os.Environ(), c.Data)
	if err != nil {
		return err
	}
	ctx, hurry, end := signals()
	defer end()
	if r.Attached {
		var orphaned context.CancelCauseFunc
		ctx, orphaned = context.WithCancelCause(ctx)
		defer watchParent(orphaned)()
	}
	return run(ctx, hurry, set, screen)
}

const parentPoll = 500 * time.Millisecond

// watchParent calls orphaned when the parent process is gone: a killed make
// cannot pass a signal on. It returns what ends the watch.
func watchParent(orphaned context.CancelCauseFunc) (end func()) {
	parent := os.Getppid()
	done, waited := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(waited)
		tick := time.NewTicker(parentPoll)
		defer tick.Stop()
		for os.Getppid() == parent {
			select {
			case <-tick.C:
			case <-done:
				return
			}
		}
		orphaned(errInterrupted)
	}()
	return func() {
		close(done)
		<-waited
		orphaned(nil)
	}
}

// errInterrupted is the planned end.
var errInterrupted = errors.New("interrupted")

// signals returns a context that ends with the first signal, and one that ends
// with a second one.
func signals() (ctx, hurry context.Context, end func()) {
	ctx, stop := context.WithCancelCause(context.Background())
	hurry, press := context.WithCancelCause(context.Background())
	caught := make(chan os.Signal, 4)
	signal.Notify(caught, syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP, syscall.SIGQUIT)
	// Without this a closed pipe behind standard output would end the process,
	// and with it the orderly stop: Ctrl-C reaches the tee in `make run | tee` too.
	pipe := make(chan os.Signal, 1)
	signal.Notify(pipe, syscall.SIGPIPE)
	done, waited := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(waited)
		if !receive(caught, done) {
			return
		}
		stop(errInterrupted)
		for first := time.Now(); receive(caught, done); {
			if time.Since(first) >= samePress {
				press(errInterrupted)
				return
			}
		}
	}()
	return ctx, hurry, func() {
		signal.Stop(caught)
		close(done)
		<-waited
		stop(nil)
		press(nil)
	}
}

// samePress is how long signals count as one: make and timeout pass on what the
// process group got already.
const samePress = 500 * time.Millisecond

// receive reports whether a signal came before done.
func receive(caught <-chan os.Signal, done <-chan struct{}) bool {
	select {
	case <-caught:
		return true
	case <-done:
		return false
	}
}
