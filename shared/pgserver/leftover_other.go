//go:build !linux

package pgserver

import (
	"os/exec"
	"strconv"
	"strings"
)

// isPostgresOn reports whether the process is a Postgres that was started here on dir, by its command line.
func isPostgresOn(pid int, dir string) bool {
	out, err := exec.Command("ps", "-ww", "-o", "command=", "-p", strconv.Itoa(pid)).Output()
	return err == nil && strings.Contains(string(out), "postgres") && strings.Contains(string(out), " -D "+dir+" ")
}
