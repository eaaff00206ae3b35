package pgserver

import (
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"
)

func TestSweepTakesOldUnlockedDirectoriesOnly(t *testing.T) {
	t.Parallel()
	root := openDir(t)
	for name, tc := range map[string]struct {
		age          time.Duration
		locked, gone bool
	}{
		"old":    {age: 2 * tempMaxAge, gone: true},
		"locked": {age: 2 * tempMaxAge, locked: true},
		"young":  {age: tempMaxAge / 2},
	} {
		dir := filepath.Join(root, name)
		if err := os.MkdirAll(tempData(dir), 0o700); err != nil {
			t.Fatal(err)
		}
		if tc.locked {
			lock, err := lockFile(tempData(dir) + ".lock")
			if err != nil {
				t.Fatal(err)
			}
			defer lock.Close()
		}
		then := time.Now().Add(-tc.age)
		if err := os.Chtimes(dir, then, then); err != nil {
			t.Fatal(err)
		}
		if err := sweepOne(t.Context(), dir, slog.New(slog.DiscardHandler)); err != nil && !(tc.locked && errors.Is(err, ErrInUse)) {
			t.Errorf("%s: %v", name, err)
		}
		if _, err := os.Stat(dir); errors.Is(err, os.ErrNotExist) != tc.gone {
			t.Errorf("%s: gone is not %v: %v", name, tc.gone, err)
		}
	}
}

// A child between fork and exec holds a copy of every descriptor; here a duplicate plays its part.
func TestUnlockIsNotHeldUpByACopiedDescriptor(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "lock")
	lock, err := lockFile(path)
	if err != nil {
		t.Fatal(err)
	}
	copied, err := syscall.Dup(int(lock.Fd()))
	if err != nil {
		t.Fatal(err)
	}
	defer syscall.Close(copied)
	if err := unlockFile(lock); err != nil {
		t.Fatal(err)
	}
	again, err := lockFile(path)
	if err != nil {
		t.Fatalf("second lock: %v", err)
	}
	if err := unlockFile(again); err != nil {
		t.Fatal(err)
	}
}
