// Package bootstrap builds the programs that tests run, and keeps what they say:
// those of Lambda as a release does, but for this machine ([Build], [Function]),
// and any others, with the race detector where the tests have it ([With]), or
// only if asked for ([Plain]).
package bootstrap

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"testing"
)

const module = "github.com/wafleet/wafleet/"

// Build makes the Lambda program in the directory of the test, with these build
// tags.
func Build(t testing.TB, tags string) string {
	t.Helper()
	program := filepath.Join(t.TempDir(), "bootstrap")
	if err := release(program, ".", tags, runtime.GOARCH); err != nil {
		t.Fatal(err)
	}
	return program
}

// Function makes the Lambda program of functions/NAME for an architecture, as a
// release does, and returns its path below dir.
func Function(dir, name, architecture string) (string, error) {
	program := filepath.Join(dir, name+"-"+architecture, "bootstrap")
	return program, release(program, module+"functions/"+name, "lambda.norpc", architecture)
}

func release(program, of, tags, architecture string) error {
	// #nosec G204 -- what is built is a test's
	command := exec.Command("go", "build", "-tags", tags, "-trimpath", "-ldflags=-s -w", "-o", program, of)
	command.Env = append(os.Environ(), "CGO_ENABLED=0", "GOOS="+runtime.GOOS, "GOARCH="+architecture)
	return run(command)
}

func run(build *exec.Cmd) error {
	if out, err := build.CombinedOutput(); err != nil {
		return fmt.Errorf("build: %w\n%s", err, out)
	}
	return nil
}

// Runner is what [With] needs of a *testing.M.
type Runner interface{ Run() int }

// With returns a Runner that builds programs of the module, runs the tests, and
// removes them. dir is set to the directory that they are in; programs are named
// by their directories, such as "functions/api".
func With(m Runner, dir *string, programs ...string) Runner { return built{m, dir, programs, raceFlag} }

// Plain is With for tests that others make superfluous as tests for races, those
// of shared/e2e/chaos above all: these programs need a fifth of the time. With
// WAFLEET_TEST_RACE in the environment it is With.
func Plain(m Runner, dir *string, programs ...string) Runner {
	if os.Getenv("WAFLEET_TEST_RACE") != "" {
		return With(m, dir, programs...)
	}
	return built{m, dir, programs, nil}
}

type built struct {
	Runner
	dir      *string
	programs []string
	flags    []string
}

func (b built) Run() int {
	dir, err := os.MkdirTemp("", "wafleet-programs-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	*b.dir = dir
	args := append([]string{"build", "-o", dir + string(filepath.Separator)}, b.flags...)
	for _, program := range b.programs {
		args = append(args, module+program)
	}
	if err := run(exec.Command("go", args...)); err != nil { // #nosec G204 -- what is built is a test's
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return b.Runner.Run()
}

// Race tells whether the tests, and what [With] builds, have the race detector.
func Race() bool { return len(raceFlag) > 0 }
