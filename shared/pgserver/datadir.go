package pgserver

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

const (
	// stateRoot and cacheRoot are root's places for what its unprivileged child could not reach elsewhere.
	stateRoot = "/var/lib/wafleet"
	cacheRoot = "/var/cache/wafleet"
	// initTimeout bounds initdb, which takes half a second on a quiet machine.
	initTimeout = 2 * time.Minute
)

// dataDir is a locked data directory that may not exist yet.
type dataDir struct {
	wished  string // what the caller asked for; password and lock lie beside it
	real    string // where the data is or will be
	account account
	version int // major version of the data, 0 if there is none yet
	lock    *os.File
}

// openDataDir locks the directory and finds out what is there. The caller must close it.
func openDataDir(wished string) (_ *dataDir, err error) {
	if err := os.MkdirAll(filepath.Dir(wished), 0o755); err != nil { // #nosec G301 -- Postgres runs as another user below it
		return nil, err
	}
	lock, err := lockFile(wished + ".lock")
	if err != nil {
		return nil, err
	}
	d := &dataDir{wished: wished, real: wished, lock: lock}
	defer func() {
		if err != nil {
			err = errors.Join(err, d.close())
		}
	}()
	if d.version, err = d.lookInside(); err != nil {
		return nil, err
	}
	if d.version == 0 {
		d.account = childAccount()
		return d, nil
	}
	if d.account, err = ownerAccount(d.real); err != nil {
		return nil, err
	}
	// The directory itself is Postgres' to judge: it wants to own it.
	if at := d.account.blockedAt(filepath.Dir(d.real)); at != "" {
		return nil, fmt.Errorf("data directory: Postgres runs as %s, which may not enter %s: move %s elsewhere or open that directory (chmod o+x)",
			d.account.name, at, d.real)
	}
	return d, nil
}

func (d *dataDir) close() error { return unlockFile(d.lock) }

// lookInside returns the version of existing data, or 0 where a new directory can be made. It resolves d.real.
func (d *dataDir) lookInside() (int, error) {
	info, err := os.Lstat(d.wished)
	if errors.Is(err, fs.ErrNotExist) {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	if d.real, err = filepath.EvalSymlinks(d.wished); err != nil {
		return 0, fmt.Errorf("%s is a link to a data directory that is gone; remove the link to start afresh: %w", d.wished, err)
	}
	entries, err := os.ReadDir(d.real)
	if err != nil {
		return 0, err
	}
	if len(entries) == 0 && info.IsDir() {
		return 0, nil
	}
	raw, err := os.ReadFile(filepath.Join(d.real, "PG_VERSION"))
	if err != nil {
		return 0, fmt.Errorf("%s is not empty and not a Postgres data directory: %w", d.wished, err)
	}
	version, err := strconv.Atoi(strings.TrimSpace(string(raw)))
	if err != nil || version <= 0 {
		return 0, fmt.Errorf("%s holds data of an unsupported Postgres version %q", d.wished, strings.TrimSpace(string(raw)))
	}
	return version, nil
}

// prepare makes the data directory if there is none, and returns the superuser's password. A crash at any point leaves
// either no data directory or a complete one.
func (d *dataDir) prepare(ctx context.Context, bin binaries, fast bool) (string, error) {
	password, err := d.readPassword()
	if err != nil {
		return "", err
	}
	if password == "" {
		password = rand.Text()
		if err := d.writePassword(ctx, bin, password); err != nil {
			return "", err
		}
	}
	if d.version == 0 {
		if err := d.create(ctx, bin, password, fast); err != nil {
			return "", fmt.Errorf("create data directory %s: %w", d.wished, err)
		}
	}
	return password, nil
}

func (d *dataDir) passwordFile() string { return d.wished + ".password" }

// readPassword returns "" if there is none.
func (d *dataDir) readPassword() (string, error) {
	raw, err := os.ReadFile(d.passwordFile())
	if errors.Is(err, fs.ErrNotExist) {
		return "", nil
	}
	return strings.TrimSpace(string(raw)), err
}

// writePassword stores a new password. Data that lost its password file gets the new password through the server's
// single-user mode, which asks for none.
func (d *dataDir) writePassword(ctx context.Context, bin binaries, password string) error {
	if d.version != 0 {
		sql := "ALTER ROLE " + superuser + " PASSWORD '" + password + "'\n"
		out, err := runAs(ctx, d.account, sql, bin.postgres, "--single", "-D", d.real, "postgres")
		if err != nil {
			return fmt.Errorf("set a new password: %w", err)
		}
		if strings.Contains(out, "ERROR:") {
			return fmt.Errorf("set a new password%s", quoteTail(strings.ReplaceAll(out, password, "***")))
		}
	}
	next := d.passwordFile() + ".new"
	if err := os.WriteFile(next, []byte(password+"\n"), 0o600); err != nil {
		return err
	}
	return os.Rename(next, d.passwordFile())
}

// create runs initdb in a staging directory and publishes it when complete: by renaming, or, if the account cannot reach
// the wished place, by a link to a reachable one.
func (d *dataDir) create(ctx context.Context, bin binaries, password string, fast bool) error {
	parent := filepath.Dir(d.wished)
	if d.account.blockedAt(parent) != "" {
		return d.createElsewhere(ctx, bin, password, fast)
	}
	staging := d.wished + ".init"
	if err := os.RemoveAll(staging); err != nil {
		return err
	}
	if err := os.Mkdir(staging, 0o700); err != nil {
		return err
	}
	if err := d.initdb(ctx, bin, staging, password, fast); err != nil {
		return errors.Join(err, os.RemoveAll(staging))
	}
	if err := os.Rename(staging, d.wished); err != nil {
		return err
	}
	real, err := filepath.EvalSymlinks(d.wished)
	d.real = real
	return err
}

func (d *dataDir) createElsewhere(ctx context.Context, bin binaries, password string, fast bool) error {
	if err := os.MkdirAll(stateRoot, 0o755); err != nil { // #nosec G301 -- Postgres runs as another user below it
		return err
	}
	if at := d.account.blockedAt(stateRoot); at != "" {
		return fmt.Errorf("%s may enter neither %s nor %s", d.account.name, filepath.Dir(d.wished), at)
	}
	dir, err := os.MkdirTemp(stateRoot, filepath.Base(d.wished)+"-*")
	if err != nil {
		return err
	}
	err = d.initdb(ctx, bin, dir, password, fast)
	if err == nil {
		// An empty directory may lie in the link's place; anything else is refused here.
		if err = os.Remove(d.wished); err == nil || errors.Is(err, fs.ErrNotExist) {
			err = os.Symlink(dir, d.wished)
		}
	}
	if err != nil {
		return errors.Join(err, os.RemoveAll(dir))
	}
	d.real = dir
	return nil
}

// initdb fills an empty directory.
func (d *dataDir) initdb(ctx context.Context, bin binaries, dir, password string, fast bool) error {
	ctx, cancel := context.WithTimeout(ctx, initTimeout)
	defer cancel()
	if err := d.account.give(dir); err != nil {
		return err
	}
	// initdb wants its directory empty, and takes a password from a file only: one beside it, for the account to read.
	file := dir + ".pw"
	defer os.Remove(file)
	if err := os.WriteFile(file, []byte(password+"\n"), 0o600); err != nil {
		return err
	}
	if err := d.account.give(file); err != nil {
		return err
	}
	args := []string{"--pgdata=" + dir, "--username=" + superuser, "--pwfile=" + file, "--auth=scram-sha-256",
		"--encoding=UTF8", "--locale=C", "--no-instructions"}
	if fast {
		args = append(args, "--no-sync")
	}
	_, err := runAs(ctx, d.account, "", bin.initdb, args...)
	return err
}

// reachableCache returns the wished cache directory, or root's own if the account could not execute from there.
func reachableCache(acct account, wished string) string {
	if acct.blockedAt(wished) == "" {
		return wished
	}
	return cacheRoot
}
