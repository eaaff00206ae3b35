package pgserver

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// fakeBin makes programs that print a version, and nothing else.
func fakeBin(t *testing.T, dir, version string) string {
	t.Helper()
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	script := fmt.Sprintf("#!/bin/sh\necho 'postgres (PostgreSQL) %s (Fake)'\n", version)
	for _, name := range []string{"postgres", "initdb"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(script), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// world is a machine with nothing on it.
func world(t *testing.T) (root string, r resolver) {
	root = openDir(t)
	return root, resolver{
		globs:    []string{filepath.Join(root, "usr/lib/postgresql/*/bin"), filepath.Join(root, "brew/postgresql*/bin")},
		cacheDir: filepath.Join(root, "cache"),
		account:  childAccount(),
		log:      slog.New(slog.DiscardHandler),
	}
}

func TestResolveOrder(t *testing.T) {
	t.Parallel()
	root, r := world(t)
	calls := 0
	r.fetchers = []fetcher{
		{name: "broken", fetch: func(context.Context, string) error { return errors.New("unreachable\nsecond line") }},
		{name: "working", fetch: func(_ context.Context, cacheDir string) error {
			calls++
			fakeBin(t, filepath.Join(cacheDir, npmCacheName(), "node_modules", npmPackage(), "native", "bin"), "18.4")
			return nil
		}},
	}
	// Each step adds a place that is preferred to all before it.
	expect := func(version, from string) {
		t.Helper()
		bin, err := r.resolve(t.Context(), 0)
		if err != nil || bin.version != version || bin.from != from {
			t.Errorf("got %v, %v; want %s (%s)", bin, err, version, from)
		}
	}
	expect("18.4", "working")
	expect("18.4", "downloaded earlier")
	fakeBin(t, filepath.Join(r.cacheDir, libraryCacheName(), "bin"), "18.3")
	expect("18.3", "downloaded earlier")
	fakeBin(t, filepath.Join(root, "brew/postgresql@17/bin"), "17.1")
	expect("17.1", "installed")
	fakeBin(t, filepath.Join(root, "usr/lib/postgresql/9/bin"), "9.6.1")
	fakeBin(t, filepath.Join(root, "usr/lib/postgresql/14/bin"), "14.9")
	fakeBin(t, filepath.Join(root, "usr/lib/postgresql/15/bin"), "15.2")
	expect("15.2", "installed")
	r.path = filepath.Join(root, "empty") + string(os.PathListSeparator) + fakeBin(t, filepath.Join(root, "path"), "13.3")
	expect("13.3", "PATH")
	if calls != 1 {
		t.Errorf("downloads = %d, want 1", calls)
	}

	for _, want := range []int{13, 14, 17, 18} {
		if bin, err := r.resolve(t.Context(), want); err != nil || bin.major != want {
			t.Errorf("for data of %d: %v, %v", want, bin, err)
		}
	}
	if _, err := r.resolve(t.Context(), 16); !errors.Is(err, ErrVersion) ||
		!strings.Contains(err.Error(), "version 16") || !strings.Contains(err.Error(), "13.3") {
		t.Errorf("for data of 16: %v", err)
	}
}

func TestSymlinkOnPathLeadsToInitdb(t *testing.T) {
	t.Parallel()
	root, r := world(t)
	real := fakeBin(t, filepath.Join(root, "opt/pg/bin"), "16.1")
	r.path = filepath.Join(root, "links")
	if err := os.Mkdir(r.path, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(filepath.Join(real, "postgres"), filepath.Join(r.path, "postgres")); err != nil {
		t.Fatal(err)
	}
	bin, err := r.resolve(t.Context(), 0)
	if err != nil || bin.initdb != filepath.Join(real, "initdb") || bin.postgres != filepath.Join(real, "postgres") {
		t.Errorf("%+v, %v", bin, err)
	}
}

func TestInitdbElsewhereOnPath(t *testing.T) {
	t.Parallel()
	root, r := world(t)
	a, b := fakeBin(t, filepath.Join(root, "a"), "16.1"), fakeBin(t, filepath.Join(root, "b"), "16.1")
	if err := errors.Join(os.Remove(filepath.Join(a, "initdb")), os.Remove(filepath.Join(b, "postgres"))); err != nil {
		t.Fatal(err)
	}
	r.path = a + string(os.PathListSeparator) + b
	bin, err := r.resolve(t.Context(), 0)
	if err != nil || bin.initdb != filepath.Join(b, "initdb") {
		t.Errorf("%+v, %v", bin, err)
	}
	r.path = a
	if _, err := r.resolve(t.Context(), 0); !errors.Is(err, ErrNoPostgres) || !strings.Contains(err.Error(), "no initdb") {
		t.Errorf("without initdb: %v", err)
	}
}

func TestBrokenBinariesArePassedOver(t *testing.T) {
	t.Parallel()
	root, r := world(t)
	r.path = fakeBin(t, filepath.Join(root, "path"), "16.1")
	if err := os.WriteFile(filepath.Join(r.path, "postgres"), []byte("#!/bin/sh\necho cannot load libssl >&2\nexit 127\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	_, err := r.resolve(t.Context(), 0)
	if !errors.Is(err, ErrNoPostgres) || !strings.Contains(err.Error(), "libssl") {
		t.Errorf("alone: %v", err)
	}
	fakeBin(t, filepath.Join(root, "usr/lib/postgresql/15/bin"), "15.2")
	if bin, err := r.resolve(t.Context(), 0); err != nil || bin.major != 15 {
		t.Errorf("with another: %v, %v", bin, err)
	}
}

func TestNothingFoundIsOneHelpfulLine(t *testing.T) {
	t.Parallel()
	_, r := world(t)
	r.fetchers = []fetcher{{name: "far away", fetch: func(context.Context, string) error { return errors.New("no route\n\tto host") }}}
	_, err := r.resolve(t.Context(), 0)
	if !errors.Is(err, ErrNoPostgres) {
		t.Fatalf("err = %v", err)
	}
	for _, want := range []string{"apt-get install postgresql", "DATABASE_URL", "far away: no route to host"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%q is not in %q", want, err)
		}
	}
	if strings.Contains(err.Error(), "\n") {
		t.Errorf("more than one line: %q", err)
	}
}

func TestParseVersion(t *testing.T) {
	t.Parallel()
	for out, want := range map[string]int{
		"postgres (PostgreSQL) 15.18 (Debian 15.18-0+deb12u1)\n": 15,
		"postgres (PostgreSQL) 18devel":                          18,
		"postgres (PostgreSQL) 9.6.24":                           0,
		"postgres":                                               0,
	} {
		if _, major, ok := parseVersion(out); ok != (want != 0) || ok && major != want {
			t.Errorf("%q: %d, %v", out, major, ok)
		}
	}
}
