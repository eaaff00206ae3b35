package pgserver

import (
	"errors"
	"fmt"
	"os"
	"syscall"
)

// ErrInUse means that another living process runs a server on the same data directory.
var ErrInUse = errors.New("another process runs Postgres on this data directory")

// lockFile takes an flock that ends with this process, however that ends. The file stays: removing it would let two
// processes lock two files of the same name.
func lockFile(path string) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|os.O_CREATE, 0o644) // #nosec G302 G304 -- an empty file that other users lock too
	if err != nil {
		return nil, err
	}
	err = syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
	if err == nil {
		return f, nil
	}
	closeErr := f.Close()
	if errors.Is(err, syscall.EWOULDBLOCK) {
		return nil, fmt.Errorf("%w: lock %s is held", ErrInUse, path)
	}
	return nil, errors.Join(fmt.Errorf("lock %s: %w", path, err), closeErr)
}

// unlockFile gives the lock up at once. Closing alone would leave it with a child that another goroutine has forked and
// that has not closed its copy of the descriptor by exec yet.
func unlockFile(f *os.File) error {
	return errors.Join(syscall.Flock(int(f.Fd()), syscall.LOCK_UN), f.Close())
}
