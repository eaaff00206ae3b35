package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"
)

// dataDir is the directory of all state, locked.
type dataDir struct {
	path string
	lock *os.File
}

// openDataDir makes the directory and takes its lock, which ends with this
// process however that ends.
func openDataDir(path string) (*dataDir, error) {
	// Others may pass: Postgres, started by root, runs as another user. What is
	// private has a mode of its own.
	if err := os.MkdirAll(path, 0o755); err != nil { // #nosec G301 -- Postgres may run as another user below it
		return nil, fmt.Errorf("data directory: %w", err)
	}
	// The file stays for ever: if it were removed, two runs could lock two files
	// of one name.
	file, err := os.OpenFile(filepath.Join(path, "lock"), os.O_RDWR|os.O_CREATE, 0o600) // #nosec G304 -- below the data directory that the operator names
	if err != nil {
		return nil, fmt.Errorf("data directory: %w", err)
	}
	if err := syscall.Flock(int(file.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		owner, _ := io.ReadAll(io.LimitReader(file, 32))
		_ = file.Close()
		if errors.Is(err, syscall.EWOULDBLOCK) {
			return nil, alreadyRunning(path, strings.TrimSpace(string(owner)))
		}
		return nil, fmt.Errorf("lock %s: %w", path, err)
	}
	d := &dataDir{path: path, lock: file}
	if err := d.sign(); err != nil {
		return nil, errors.Join(fmt.Errorf("lock %s: %w", path, err), d.close())
	}
	return d, nil
}

func alreadyRunning(path, pid string) error {
	if pid == "" {
		pid = "?"
	}
	return fmt.Errorf("already running: process %s uses the data in %s; stop it first", pid, path)
}

// sign says who holds the lock, for the message to the next one.
func (d *dataDir) sign() error {
	if err := d.lock.Truncate(0); err != nil {
		return err
	}
	_, err := d.lock.WriteAt(fmt.Appendln(nil, os.Getpid()), 0)
	return err
}

// in is a path below the directory.
func (d *dataDir) in(parts ...string) string {
	return filepath.Join(append([]string{d.path}, parts...)...)
}

// close gives the lock up by unlocking: closing alone would leave it with a
// child that is between fork and exec.
func (d *dataDir) close() error {
	return errors.Join(d.lock.Truncate(0), syscall.Flock(int(d.lock.Fd()), syscall.LOCK_UN), d.lock.Close())
}

// writePrivate replaces a file in one step; only its owner may read it.
func writePrivate(path string, content []byte) (err error) {
	file, err := os.CreateTemp(filepath.Dir(path), filepath.Base(path)+".*.tmp") // mode 0600
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			_ = os.Remove(file.Name())
		}
	}()
	_, err = file.Write(content)
	if err = errors.Join(err, file.Close()); err != nil {
		return err
	}
	return os.Rename(file.Name(), path)
}
