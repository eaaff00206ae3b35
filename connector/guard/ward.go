package main

import (
	"bufio"
	"errors"
	"io"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/wafleet/wafleet/shared/child"
	"github.com/wafleet/wafleet/shared/session"
)

const (
	// maxReport is how much of a crash report is kept, in bytes. What matters
	// comes first; a report of all goroutines may have megabytes.
	maxReport = 64 << 10
	// lastWords is how long the pipes may stay open after the child has ended,
	// where somebody inherited them.
	lastWords = time.Second
)

// ward is the child that runs, and what it has told.
type ward struct {
	process *child.Process
	pipes   []*os.File // the ends that are read
	reading sync.WaitGroup

	// Written while the pipes are read.
	connector session.ConnectorID // that has a lease; empty: none does
	report    []byte
}

// death is all that is known of a child that is gone.
type death struct {
	connector session.ConnectorID // whose lease may not have ended; empty: none
	report    []byte              // of the crash; empty where there was none
	code      int                 // exit code as a shell tells it
	how       error               // nil: exit code 0
}

// startWard starts the child, which inherits the tenure where there is one.
// leased is told whenever the child's lease is another one.
func startWard(cmd *exec.Cmd, held *tenure, leased func(session.ConnectorID)) (*ward, error) {
	w := &ward{}
	leases, hisLeases, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	report, hisReport, err := os.Pipe()
	if err != nil {
		return nil, errors.Join(err, leases.Close(), hisLeases.Close())
	}
	w.pipes = []*os.File{leases, report}
	cmd.ExtraFiles = []*os.File{hisLeases, hisReport} // descriptors 3 and 4
	cmd.Env = append(slices.Clip(cmd.Env), "GUARD_LEASE_FD=3", "GUARD_CRASH_FD=4", "GODEBUG="+withLabels(cmd.Env))
	if held != nil {
		cmd.ExtraFiles = append(cmd.ExtraFiles, held.file)
	}
	w.process, err = child.Start(cmd, syscall.SIGKILL)
	err = errors.Join(err, hisLeases.Close(), hisReport.Close())
	if w.process == nil {
		return nil, errors.Join(err, leases.Close(), report.Close())
	}
	w.reading.Go(func() { w.readLeases(leases, leased) })
	w.reading.Go(func() { w.readReport(report) })
	return w, nil
}

// withLabels is GODEBUG with what puts labels into a crash report.
func withLabels(env []string) string {
	const labels = "tracebacklabels=1"
	for _, line := range slices.Backward(env) {
		if value, ok := strings.CutPrefix(line, "GODEBUG="); ok && value != "" {
			return value + "," + labels
		}
	}
	return labels
}

// readLeases follows the lease pipe: a line is the id of a lease that the child
// takes now, an empty one says that it has ended the last.
func (w *ward) readLeases(pipe io.Reader, leased func(session.ConnectorID)) {
	lines := bufio.NewScanner(pipe)
	for lines.Scan() {
		w.connector = session.ConnectorID(lines.Text())
		leased(w.connector)
	}
}

// readReport keeps the beginning and takes the rest, so that a child that
// crashes never waits.
func (w *ward) readReport(pipe io.Reader) {
	w.report, _ = io.ReadAll(io.LimitReader(pipe, maxReport))
	_, _ = io.Copy(io.Discard, pipe)
}

// death waits for the end of the child and returns what it has told until then.
func (w *ward) death() death {
	d := death{how: w.process.Err()}
	for _, pipe := range w.pipes {
		_ = pipe.SetReadDeadline(time.Now().Add(lastWords)) // pipes have deadlines
	}
	w.reading.Wait()
	for _, pipe := range w.pipes {
		_ = pipe.Close() // everything is read
	}
	d.connector, d.report, d.code = w.connector, w.report, exitCode(d.how)
	return d
}

// exitCode is what a shell would say of an end.
func exitCode(how error) int {
	var exit *exec.ExitError
	switch {
	case how == nil:
		return 0
	case !errors.As(how, &exit):
		return 1
	}
	if status, ok := exit.Sys().(syscall.WaitStatus); ok && status.Signaled() {
		return 128 + int(status.Signal())
	}
	return exit.ExitCode()
}
