// Package schema brings the fleet's database up to date. It is apart from
// package store so that only the programs that migrate carry the migrations and
// the library that applies them.
package schema

import (
	"context"
	"embed"
	"fmt"
	"io/fs"
	"log/slog"

	"github.com/pressly/goose/v3"
	"github.com/pressly/goose/v3/lock"

	"github.com/wafleet/wafleet/shared/store"
)

//go:embed migrations/*.sql
var migrations embed.FS

// Migrate brings the schema up to date. Several processes may call it at once:
// one works, the others wait. Migrations go forward only and expand before
// they contract, because old and new binaries overlap during a deploy. A nil
// log is silent.
func Migrate(ctx context.Context, databaseURL string, log *slog.Logger) error {
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	s, err := store.Open(databaseURL, store.Options{MaxOpen: 3, Answer: -1, ApplicationName: "wafleet-migrate"})
	if err != nil {
		return err
	}
	defer s.Close()
	files, err := fs.Sub(migrations, "migrations")
	if err != nil {
		return err
	}
	locker, err := lock.NewPostgresSessionLocker()
	if err != nil {
		return err
	}
	provider, err := goose.NewProvider(goose.DialectPostgres, s.DB(), files, goose.WithSessionLocker(locker))
	if err != nil {
		return fmt.Errorf("read the embedded migrations: %w", err)
	}
	results, err := provider.Up(ctx)
	for _, result := range results {
		log.Info("migrated", "version", result.Source.Version, "took", result.Duration.String())
	}
	if err != nil {
		return fmt.Errorf("migrate: %w", err)
	}
	log.Info("schema is up to date", "applied", len(results))
	return nil
}
