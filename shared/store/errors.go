package store

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"io"
	"net"

	"github.com/lib/pq"
	"github.com/wafleet/wafleet/shared/session"
)

// SQLSTATEs that mean something to the domain. Classes are two characters.
const (
	uniqueViolation     = "23505"
	undefinedTable      = "42P01"
	undefinedColumn     = "42703"
	deadlock            = "40P01"
	queryCanceled       = "57014" // also what a context's deadline becomes
	classConnection     = "08"
	classResources      = "53"
	classIntervention   = "57" // shutdown, crash, recovery
	classRollback       = "40" // deadlock, serialization
	classLockNotGranted = "55"
	readOnlyTransaction = "25006" // the old primary after a failover

	invalidPassword      = "28P01"
	invalidAuthorization = "28000" // also a refused IAM token
)

// ErrSchema: the database lacks what this version needs; it was not migrated.
var ErrSchema = errors.New("the database has no schema, or that of an older version")

// domain wraps an error with what was being done and turns what a retry may
// mend into session.ErrUnavailable. Errors that are the domain's already pass.
func domain(what string, err error) error {
	switch {
	case err == nil:
		return nil
	case isDomain(err):
		return err
	case errors.Is(err, sql.ErrNoRows):
		return session.ErrNotFound
	case sqlState(err) == undefinedTable || sqlState(err) == undefinedColumn:
		return fmt.Errorf("%w: %s: %w", ErrSchema, what, err)
	case isTransient(err):
		return fmt.Errorf("%w: %s: %w", session.ErrUnavailable, what, err)
	}
	return fmt.Errorf("%s: %w", what, err)
}

func isDomain(err error) bool {
	for _, known := range []error{
		session.ErrNotFound, session.ErrActive, session.ErrStopped, session.ErrStoreInUse, session.ErrExists, session.ErrNotAuthenticated, session.ErrQuota, session.ErrFenced,
		session.ErrDeviceTaken, session.ErrLeaseLost, session.ErrUnavailable,
	} {
		if errors.Is(err, known) {
			return true
		}
	}
	return false
}

func isTransient(err error) bool {
	if state := sqlState(err); state != "" {
		switch state[:2] {
		case classConnection, classResources, classIntervention, classRollback, classLockNotGranted:
			return true
		}
		return state == readOnlyTransaction
	}
	var network net.Error
	return errors.As(err, &network) || errors.Is(err, driver.ErrBadConn) || errors.Is(err, sql.ErrConnDone) ||
		errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) ||
		errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled)
}

// sqlState returns the five characters, or nothing for an error that did not
// come from the server.
func sqlState(err error) string {
	var pgError *pq.Error
	if errors.As(err, &pgError) && len(pgError.Code) == 5 {
		return string(pgError.Code)
	}
	return ""
}
