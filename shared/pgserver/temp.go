package pgserver

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"syscall"
	"time"
)

const (
	tempPattern = "wafleet-pg-*"
	// tempMaxAge keeps a sweep away from directories whose owner is just about to take the lock.
	tempMaxAge = time.Hour
)

// makeTemp returns a new directory to hold a temporary data directory. Root's is open for its child to pass through.
func makeTemp(acct account) (string, error) {
	base := os.TempDir()
	if acct.blockedAt(base) != "" {
		base = stateRoot
		if err := os.MkdirAll(base, 0o755); err != nil { // #nosec G301 -- Postgres runs as another user below it
			return "", err
		}
	}
	dir, err := os.MkdirTemp(base, tempPattern)
	if err != nil || !acct.drop {
		return dir, err
	}
	return dir, os.Chmod(dir, 0o711) // #nosec G302 -- Postgres runs as another user below it
}

// sweepTemp removes what killed processes of this user left. It is a courtesy: failures are logged and do no harm.
func sweepTemp(ctx context.Context, log *slog.Logger) {
	dirs, _ := filepath.Glob(filepath.Join(os.TempDir(), tempPattern))
	for _, dir := range dirs {
		if err := sweepOne(ctx, dir, log); err != nil && !errors.Is(err, ErrInUse) {
			log.Debug("old temporary directory stays", "dir", dir, "error", err)
		}
	}
}

func sweepOne(ctx context.Context, dir string, log *slog.Logger) (err error) {
	info, err := os.Lstat(dir)
	if err != nil {
		return err
	}
	stat, ok := info.Sys().(*syscall.Stat_t)
	if !ok || !info.IsDir() || int(stat.Uid) != os.Geteuid() || time.Since(info.ModTime()) < tempMaxAge {
		return nil
	}
	data := tempData(dir)
	lock, err := lockFile(data + ".lock")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, unlockFile(lock)) }()
	if err := stopLeftover(ctx, data, log); err != nil {
		return err
	}
	return os.RemoveAll(dir)
}

func tempData(dir string) string { return filepath.Join(dir, "data") }
