package deployment

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// Build makes programs from the module at source, as a release does but for this
// machine, and returns the directory that holds them. Packages are below the
// module's root; a program is named after the last element.
func Build(t testing.TB, source string, packages ...string) (dir string) {
	t.Helper()
	dir = t.TempDir()
	args := []string{"build", "-trimpath", "-buildvcs=false", "-ldflags=-s -w", "-o", dir + string(filepath.Separator)}
	for _, name := range packages {
		args = append(args, "./"+name)
	}
	build := exec.CommandContext(t.Context(), "go", args...) // #nosec G204 -- what is built is a test's
	build.Dir = source
	build.Env = append(os.Environ(), "CGO_ENABLED=0", "GOFLAGS=")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("build %v: %v\n%s", packages, err, out)
	}
	return dir
}
