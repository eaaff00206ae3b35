// Package bootstrap builds the programs that Lambda runs, for the tests of each:
// as a release does, but for this machine.
package bootstrap

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
)

// Build makes the program in the directory of the test, with these build tags.
func Build(t *testing.T, tags string) string {
	t.Helper()
	program := filepath.Join(t.TempDir(), "bootstrap")
	// #nosec G204 -- the tags are a test's
	command := exec.CommandContext(t.Context(), "go", "build", "-tags", tags, "-trimpath", "-ldflags=-s -w", "-o", program, ".")
	command.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := command.CombinedOutput(); err != nil {
		t.Fatalf("build: %v\n%s", err, out)
	}
	return program
}

// Output collects what a program writes, from any goroutine.
type Output struct {
	mu   sync.Mutex
	text bytes.Buffer // guarded by mu
}

func (o *Output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.Write(p)
}

func (o *Output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.String()
}
