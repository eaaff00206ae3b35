package pgserver

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// isPostgresOn reports whether the process is a Postgres whose data directory is dir: a postmaster's working directory is
// its data directory.
func isPostgresOn(pid int, dir string) bool {
	proc := fmt.Sprintf("/proc/%d/", pid)
	exe, err := os.Readlink(proc + "exe")
	if err != nil || !strings.HasPrefix(filepath.Base(exe), "postgres") {
		return false
	}
	at, err := os.Stat(proc + "cwd")
	if err != nil {
		return false
	}
	want, err := os.Stat(dir)
	return err == nil && os.SameFile(at, want)
}
