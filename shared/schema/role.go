package schema

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"regexp"
	"time"

	"github.com/wafleet/wafleet/shared/store"
)

//go:embed role.sql
var makeRoles string

// rolePattern keeps clear of quoting, and of the 63 bytes that a name may have
// with ownerSuffix at its end.
var rolePattern = regexp.MustCompile(`^[a-z_][a-z0-9_]{0,56}$`)

const ownerSuffix = "_owner"

// CheckRole reports whether a name can be that of the programs' role.
func CheckRole(app string) error {
	if !rolePattern.MatchString(app) {
		return errors.New("must be the name of a role: up to 57 lower case letters, digits and underscores")
	}
	return nil
}

// lockTimeout bounds the wait for a table that is handed over: what asks for it
// holds up everybody who comes later.
const lockTimeout = 10 * time.Second

// Admit makes the role that the programs log in as, and hands the tables over
// that belong to whoever migrates. It returns the role that owns them. It changes
// nothing where nothing is to do; several processes may call it at once.
func Admit(ctx context.Context, open Open, app string) (owner string, err error) {
	if err := CheckRole(app); err != nil {
		return "", fmt.Errorf("the role %w", err)
	}
	s, err := open(store.Options{MaxOpen: 2, Answer: -1, ApplicationName: "wafleet-migrate"})
	if err != nil {
		return "", err
	}
	defer s.Close()
	owner = app + ownerSuffix
	err = s.WithLock(ctx, "wafleet roles", func(ctx context.Context) error { return admit(ctx, s, app, owner) })
	if err != nil {
		return "", fmt.Errorf("make the role of the programs: %w", err)
	}
	return owner, nil
}

func admit(ctx context.Context, s *store.Store, app, owner string) error {
	tx, err := s.DB().BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer tx.Rollback() // no effect after the commit
	for name, value := range map[string]string{
		"wafleet.app": app, "wafleet.owner": owner, "lock_timeout": fmt.Sprint(lockTimeout.Milliseconds()),
	} {
		if _, err := tx.ExecContext(ctx, `SELECT set_config($1, $2, true)`, name, value); err != nil {
			return err
		}
	}
	if _, err := tx.ExecContext(ctx, makeRoles); err != nil {
		return err
	}
	return tx.Commit()
}
