package pgserver

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
)

// Config describes a server. The zero value is a temporary server on a free port.
type Config struct {
	// DataDir is kept between runs; see the package documentation for the files beside it. Empty means a temporary
	// directory that Stop removes.
	DataDir string
	// CacheDir keeps downloaded binaries. Empty means wafleet in the user's cache directory.
	CacheDir string
	// Fast trades durability for speed (no fsync): for tests. A crash of the machine may corrupt the data.
	Fast bool
	// Port on 127.0.0.1; 0 means a free one.
	Port int
	// MaxConnections is the server's max_connections; 0 means 100.
	MaxConnections int
	// Log receives progress (Info) and the server's own output, line by line (Debug). Nil discards both.
	Log *slog.Logger
}

// defaultMaxConnections is Postgres' own default.
const defaultMaxConnections = 100

func (c Config) withDefaults() (Config, error) {
	var errs []error
	if c.Port < 0 || c.Port > 65535 {
		errs = append(errs, fmt.Errorf("port %d is not in 0..65535", c.Port))
	}
	if c.MaxConnections < 0 {
		errs = append(errs, fmt.Errorf("max connections %d is negative", c.MaxConnections))
	}
	if c.MaxConnections == 0 {
		c.MaxConnections = defaultMaxConnections
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	for _, dir := range []*string{&c.DataDir, &c.CacheDir} {
		if *dir == "" {
			continue
		}
		abs, err := filepath.Abs(*dir)
		if err != nil {
			errs = append(errs, fmt.Errorf("make %s absolute: %w", *dir, err))
		}
		*dir = abs
	}
	if c.CacheDir == "" {
		c.CacheDir = defaultCacheDir()
	}
	return c, errors.Join(errs...)
}

// defaultCacheDir works without a home directory too, as in some containers and services.
func defaultCacheDir() string {
	base, err := os.UserCacheDir()
	if err != nil {
		base = filepath.Join(os.TempDir(), fmt.Sprintf("cache-%d", os.Getuid()))
	}
	return filepath.Join(base, "wafleet")
}
