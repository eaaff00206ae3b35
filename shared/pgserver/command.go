package pgserver

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

// waitDelay bounds how long a finished or killed command may keep its output pipe open through a grandchild.
const waitDelay = 5 * time.Second

// runAs runs a short-lived program (initdb, postgres --version, postgres --single) to its end and returns its output,
// stdout and stderr together; the error quotes the tail of it.
func runAs(ctx context.Context, acct account, stdin, program string, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, program, args...) // #nosec G204 -- a fixed set of programs
	cmd.SysProcAttr = acct.attrs()
	cmd.Env = childEnv()
	// The own working directory may be closed to the account.
	cmd.Dir = "/"
	cmd.Stdin = strings.NewReader(stdin)
	cmd.WaitDelay = waitDelay
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Run(); err != nil {
		if ctx.Err() != nil {
			err = context.Cause(ctx)
		}
		return out.String(), fmt.Errorf("%s: %w%s", filepath.Base(program), err, quoteTail(out.String()))
	}
	return out.String(), nil
}

// childEnv is the environment without what would change Postgres' behaviour from outside: libpq and server settings, and
// the locale, which is fixed to C so that sort order and messages are the same everywhere.
func childEnv() []string {
	var env []string
	for _, kv := range os.Environ() {
		if strings.HasPrefix(kv, "PG") || strings.HasPrefix(kv, "LC_") || strings.HasPrefix(kv, "LANG") {
			continue
		}
		env = append(env, kv)
	}
	return append(env, "LC_ALL=C")
}

// quoteTail formats the last lines of a program's output for the end of an error.
func quoteTail(out string) string {
	out = strings.TrimSpace(out)
	if out == "" {
		return ""
	}
	lines := strings.Split(out, "\n")
	if len(lines) > tailLines {
		lines = lines[len(lines)-tailLines:]
	}
	return ":\n\t" + strings.Join(lines, "\n\t")
}
