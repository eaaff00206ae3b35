package pgserver

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"time"
)

// probeTimeout bounds `postgres --version`, which takes milliseconds.
const probeTimeout = 10 * time.Second

// binaries is a pair of programs that runs on this machine under the child's account.
type binaries struct {
	initdb, postgres string
	version          string // as printed, e.g. 15.18
	major            int
	from             string // where they were found, for people
}

func (b binaries) String() string {
	return fmt.Sprintf("PostgreSQL %s from %s (%s)", b.version, filepath.Dir(b.postgres), b.from)
}

// candidate is a pair of paths to probe.
type candidate struct {
	initdb, postgres string
}

func inDir(dir string) candidate {
	return candidate{initdb: filepath.Join(dir, "initdb"), postgres: filepath.Join(dir, "postgres")}
}

// probe runs the server program once: that proves in one go that it is there, that the account may execute it, that it is
// made for this machine and its C library, and which version it is.
func probe(ctx context.Context, acct account, c candidate, from string) (binaries, error) {
	if _, err := os.Stat(c.initdb); err != nil {
		return binaries{}, fmt.Errorf("no initdb for %s", c.postgres)
	}
	ctx, cancel := context.WithTimeout(ctx, probeTimeout)
	defer cancel()
	out, err := runAs(ctx, acct, "", c.postgres, "--version")
	if err != nil {
		return binaries{}, fmt.Errorf("%s does not run as %s: %w", c.postgres, acct.name, err)
	}
	version, major, ok := parseVersion(out)
	if !ok {
		return binaries{}, fmt.Errorf("%s prints no known version", c.postgres)
	}
	return binaries{initdb: c.initdb, postgres: c.postgres, version: version, major: major, from: from}, nil
}

var versionPattern = regexp.MustCompile(`\(PostgreSQL\) ((\d+)\S*)`)

// parseVersion reads "postgres (PostgreSQL) 15.18 (Debian 15.18-0)". Since version 10 the major version is one number.
func parseVersion(out string) (version string, major int, ok bool) {
	m := versionPattern.FindStringSubmatch(out)
	if m == nil {
		return "", 0, false
	}
	major, err := strconv.Atoi(m[2])
	return m[1], major, err == nil && major >= 10
}
