// Package schema brings the fleet's database up to date. It is apart from
// package store so that only the programs that migrate carry the migrations and
// the library that applies them.
//
// # Who owns the tables
//
// Without another role they belong to whoever migrates. With [Admit] the programs
// log in as a role of their own that is not the database's master: APP, which may
// log in, and which takes tokens of RDS IAM where the server has them. The tables
// belong to a third role, APP_owner:
//
//	master ──member of──▶ APP_owner ◀──member of── APP ──member of──▶ rds_iam
//	         acts as it to migrate                 has its rights
//
// The master must never be a member of APP: a member of rds_iam, and be it through
// another role, can log in with a token only, and the password of the master would
// not work any more. A program ends the connections of a dead one (shared/store,
// owner.go) because both are APP.
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

// Open makes a pool of connections to the database that is to be migrated.
type Open = func(store.Options) (*store.Store, error)

// Migrate brings the schema of the database at a URL up to date, see [Up].
func Migrate(ctx context.Context, databaseURL string, log *slog.Logger) error {
	_, err := Up(ctx, func(o store.Options) (*store.Store, error) { return store.Open(databaseURL, o) }, "", log)
	return err
}

// Up brings the schema up to date and returns its version. Several processes may
// call it at once: one works, the others wait. Migrations go forward only and
// expand before they contract, because old and new binaries overlap during a
// deploy. Where owner is not empty it is the role that owns what is made. A nil log
// is silent.
func Up(ctx context.Context, open Open, owner string, log *slog.Logger) (version int64, err error) {
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	s, err := open(store.Options{MaxOpen: 3, Answer: -1, ApplicationName: "wafleet-migrate", Role: owner})
	if err != nil {
		return 0, err
	}
	defer s.Close()
	files, err := fs.Sub(migrations, "migrations")
	if err != nil {
		return 0, err
	}
	locker, err := lock.NewPostgresSessionLocker()
	if err != nil {
		return 0, err
	}
	provider, err := goose.NewProvider(goose.DialectPostgres, s.DB(), files, goose.WithSessionLocker(locker))
	if err != nil {
		return 0, fmt.Errorf("read the embedded migrations: %w", err)
	}
	results, err := provider.Up(ctx)
	for _, result := range results {
		log.Info("migrated", "version", result.Source.Version, "took", result.Duration.String())
	}
	if err != nil {
		return 0, fmt.Errorf("migrate: %w", err)
	}
	if version, err = provider.GetDBVersion(ctx); err != nil {
		return 0, fmt.Errorf("read the version of the schema: %w", err)
	}
	log.Info("schema is up to date", "applied", len(results), "version", version)
	return version, nil
}
