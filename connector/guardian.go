package main

import (
	"fmt"
	"os"
	"runtime/debug"
	"syscall"

	"github.com/wafleet/wafleet/shared/session"
)

// guardian is the parent that sees this process die and ends its lease then; see
// package guard. The zero value is none.
type guardian struct{ leases *os.File }

// openGuardian takes the pipes that a guard has opened for this process, and
// lets the runtime report a crash on one of them.
func openGuardian(leaseFD, crashFD int) (g guardian, err error) {
	if crashFD != 0 {
		crash, err := inheritedPipe("GUARD_CRASH_FD", crashFD)
		if err != nil {
			return g, err
		}
		defer crash.Close() // the runtime has made a copy
		if err := debug.SetCrashOutput(crash, debug.CrashOptions{}); err != nil {
			return g, fmt.Errorf("GUARD_CRASH_FD: %w", err)
		}
	}
	if leaseFD != 0 {
		g.leases, err = inheritedPipe("GUARD_LEASE_FD", leaseFD)
	}
	return g, err
}

// inheritedPipe refuses whatever is not a pipe: a number that came with a
// borrowed environment means a file of this process.
func inheritedPipe(name string, fd int) (*os.File, error) {
	var stat syscall.Stat_t
	if err := syscall.Fstat(fd, &stat); fd <= 2 || err != nil || stat.Mode&syscall.S_IFMT != syscall.S_IFIFO {
		return nil, fmt.Errorf("%s: %d is not a pipe that a guard has opened", name, fd)
	}
	syscall.CloseOnExec(fd)
	return os.NewFile(uintptr(fd), name), nil
}

// tell says which lease this process has from now on; none where id is empty.
// Where the guard is gone so is this process.
func (g guardian) tell(id session.ConnectorID) {
	if g.leases != nil {
		_, _ = fmt.Fprintln(g.leases, id)
	}
}
