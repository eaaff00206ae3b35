package pgserver

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// leftoverPoll is how often the end of a process that is not a child is looked for.
const leftoverPoll = 20 * time.Millisecond

// stopLeftover ends a postmaster that an earlier, killed parent left on the data directory. The caller holds the
// directory's lock, so no living parent owns it.
func stopLeftover(ctx context.Context, dir string, log *slog.Logger) error {
	pidFile := filepath.Join(dir, "postmaster.pid")
	pid, err := readPID(pidFile)
	if err != nil || pid == 0 || !alive(pid) {
		// A pid file of a process that has ended is recognised and replaced by Postgres itself.
		return err
	}
	if !isPostgresOn(pid, dir) {
		// The number belongs to an unrelated process by now, typically after a reboot. Postgres would refuse to start as long
		// as that lives. Removing the file is safe: backends that outlive a postmaster hold its shared memory segment, which is
		// found by the directory's inode and refuses a second server without the file.
		log.Warn("removing a stale postmaster.pid: its process is not this server", "pid", pid)
		return os.Remove(pidFile)
	}
	log.Info("stopping a Postgres that an earlier run left behind", "pid", pid)
	for _, step := range []struct {
		sig   syscall.Signal
		grace time.Duration
	}{{syscall.SIGINT, fastGrace}, {syscall.SIGQUIT, quitGrace}} {
		if err := syscall.Kill(pid, step.sig); err != nil && !errors.Is(err, syscall.ESRCH) {
			return fmt.Errorf("stop the Postgres left by an earlier run (pid %d): %w", pid, err)
		}
		if ended, err := awaitEnd(ctx, pid, dir, step.grace); ended || err != nil {
			return err
		}
	}
	return fmt.Errorf("the Postgres left by an earlier run (pid %d) does not end", pid)
}

// readPID returns the first line of a postmaster.pid, or 0 if there is no file or no number in it.
func readPID(path string) (int, error) {
	raw, err := os.ReadFile(path) // #nosec G304 -- a file of our own state's directory
	if errors.Is(err, fs.ErrNotExist) {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	first, _, _ := strings.Cut(string(raw), "\n")
	pid, err := strconv.Atoi(strings.TrimSpace(first))
	if err != nil || pid <= 1 {
		return 0, nil
	}
	return pid, nil
}

func alive(pid int) bool {
	err := syscall.Kill(pid, 0)
	return err == nil || errors.Is(err, syscall.EPERM)
}

// awaitEnd waits until the process is no Postgres on dir any more. A zombie that nobody reaps counts as ended.
func awaitEnd(ctx context.Context, pid int, dir string, grace time.Duration) (bool, error) {
	deadline := time.NewTimer(grace)
	defer deadline.Stop()
	tick := time.NewTicker(leftoverPoll)
	defer tick.Stop()
	for isPostgresOn(pid, dir) {
		select {
		case <-tick.C:
		case <-deadline.C:
			return false, nil
		case <-ctx.Done():
			return false, context.Cause(ctx)
		}
	}
	return true, nil
}
