// Command guard runs a connector as its child and does, when the child is gone,
// what the dead cannot do any more: it ends the lease at once, so that the
// sessions are claimed within a second or two instead of after the lease has
// passed, and it tells which session killed the connector.
//
//	guard [-tenure FILE] connector [ARGUMENTS]
//
// It passes signals on and ends with the child's exit code, or 128 and the number
// of the signal that ended it. It restarts nothing: whoever runs the guard does.
//
// # Why
//
// Most panics of whatsmeow end one session's connection. Some cannot be caught
// (package whatsapp lists them) and end the process with all its sessions. They
// move on, the one with the malformed stanza too, and it ends the next process,
// and the next. Three such deaths in a row put it into quarantine, as three
// panics that were caught do.
//
// # Who knows what
//
//	connector ── lease pipe: its id before it registers, nothing when it has ended its lease ──▶ guard
//	connector ── crash pipe: the Go runtime's report of the crash ─────────────────────────────▶ guard
//	kernel ───── that the process is gone, and how ────────────────────────────────────────────▶ guard
//
// That the process is gone is certain: the guard is its parent. The id is what
// the connector said last; where it ended its lease itself there is nothing to
// do. Which session is to blame is read from the report alone (report.go), and
// only where the goroutine that crashed carries a session's label and did so by
// itself: memory that ran out, or a signal from outside, is nobody's fault. In
// doubt nobody is blamed, and all sessions move on.
//
// The blame comes before the end of the lease, so that nobody claims the culprit
// in between, and is refused where the dead does not hold the session any more.
// Where the database does not answer within a lease's time the guard gives up:
// the lease has passed by itself.
//
// # What it is not
//
// The guard does not look into the child's health, touches nothing of its output
// and keeps no connection to the database while the child lives. A guard that is
// killed takes its child along (Linux only) and ends no lease; -tenure leaves
// that to the next guard with the same file (tenure.go).
//
// Three variables of the environment are the guard's: GUARD_LEASE_FD and
// GUARD_CRASH_FD name the pipes, and GODEBUG makes the runtime put labels into
// its report.
package main

import (
	"flag"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"os/signal"
	"syscall"
	"time"

	"github.com/wafleet/wafleet/shared/session"
	"github.com/wafleet/wafleet/shared/settings"
	"github.com/wafleet/wafleet/shared/telemetry"
)

const usage = "usage: guard [-tenure FILE] connector [ARGUMENTS]"

func main() {
	g, err := newGuard(os.Args[1:])
	if err != nil {
		fmt.Fprintln(os.Stderr, "guard:", err)
		os.Exit(2)
	}
	signals := make(chan os.Signal, 8)
	signal.Notify(signals, syscall.SIGTERM, syscall.SIGINT, syscall.SIGHUP, syscall.SIGQUIT)
	// A log that nobody reads any more must not end the guard before its work.
	signal.Notify(make(chan os.Signal, 1), syscall.SIGPIPE)
	code, err := g.run(signals)
	if err != nil {
		fmt.Fprintln(os.Stderr, "guard:", err)
		code = 1
	}
	os.Exit(code)
}

// guard is one run of the program.
type guard struct {
	cmd      *exec.Cmd // the child, without what the guard adds
	database settings.Database
	wrong    error         // with the database's settings; the child says so too
	tenure   string        // file; empty: none
	patience time.Duration // with a database that is away when the child dies
	log      *slog.Logger
}

func newGuard(args []string) (guard, error) {
	g := guard{patience: buryTimeout, log: telemetry.New(os.Stderr, slog.LevelInfo)}
	g.database, g.wrong = readDatabase()
	flags := flag.NewFlagSet("guard", flag.ContinueOnError)
	flags.SetOutput(io.Discard)
	flags.StringVar(&g.tenure, "tenure", "", "")
	if err := flags.Parse(args); err != nil {
		return g, fmt.Errorf("%w\n%s", err, usage)
	}
	if flags.NArg() == 0 {
		return g, fmt.Errorf("no program to run\n%s", usage)
	}
	g.cmd = exec.Command(flags.Arg(0), flags.Args()[1:]...) // #nosec G204 -- running the command of its caller is what it is for
	g.cmd.Env = os.Environ()
	g.cmd.Stdin, g.cmd.Stdout, g.cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	return g, nil
}

func readDatabase() (settings.Database, error) {
	database, wrong := settings.Read[settings.Database]()
	database.Check(wrong)
	return database, wrong.Err()
}

// run returns the exit code of the child when there is nothing left to do for
// it, or why it could not be started.
func (g guard) run(signals <-chan os.Signal) (code int, err error) {
	var held *tenure // nil without a file
	if g.tenure != "" {
		var last session.ConnectorID
		if held, last, err = openTenure(g.tenure); err != nil {
			return 0, err
		}
		defer held.close()
		g.bury(death{connector: last}, held)
	}
	w, err := startWard(g.cmd, held, func(id session.ConnectorID) { g.record(held, id) })
	if err != nil {
		return 0, err
	}
	for {
		select {
		case s := <-signals:
			w.process.Signal(s)
		case <-w.process.Gone():
			d := w.death()
			g.bury(d, held)
			return d.code, nil
		}
	}
}

// record leaves the id to the next guard, in case this one is killed.
func (g guard) record(held *tenure, id session.ConnectorID) {
	if held == nil {
		return
	}
	if err := held.hold(id); err != nil {
		g.log.Warn("the tenure cannot be written", "error", err.Error())
	}
}
