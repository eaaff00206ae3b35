package store

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"

	"github.com/wafleet/wafleet/shared/session"
)

// decision is what the user wants from now on.
type decision struct {
	desired session.Desired
	config  *session.Stored // nil keeps the stored one
	unlink  bool            // the device
	remove  bool            // the whole session
}

// updateWanted stores a decision, its consequences for the queue, and who made
// it. The job of a banned account waits for the end of the ban. A deleted
// session gives its name up at once.
const updateWanted = `
WITH asked AS (
    UPDATE session SET desired = $2, generation = generation + 1, desired_at = now(),
        config = COALESCE($3::json, config), secrets = CASE WHEN $3::text IS NULL THEN secrets ELSE $4::bytea END,
        unlink_generation = CASE WHEN $5 THEN generation + 1 ELSE unlink_generation END,
        deleted_at = CASE WHEN $6 THEN now() END, name = CASE WHEN $6 THEN 'deleted-' || id ELSE name END
    WHERE id = $1 RETURNING id, tenant_id, generation, desired, desired_at, unlink_generation, deleted_at
), placed AS (
    SELECT s.id, s.deleted_at, r.reason_code, r.retry_at, ` + wanted + ` AS wanted FROM asked s JOIN session_run r ON r.session_id = s.id
), queued AS (
    INSERT INTO start_job (session_id, available_at)
    SELECT id, GREATEST(now(), CASE WHEN reason_code = 'TEMP_BAN' AND deleted_at IS NULL THEN retry_at END) FROM placed WHERE wanted
    ON CONFLICT (session_id) DO UPDATE SET available_at = excluded.available_at
), dropped AS (
    DELETE FROM start_job j USING placed p WHERE j.session_id = p.id AND NOT p.wanted
), forgotten AS (
    DELETE FROM pairing_request q USING asked s WHERE q.session_id = s.id
), audited AS (
    INSERT INTO audit (tenant_id, key_id, action, subject, session_id, request_id) SELECT tenant_id, $7, $8, $9, id, $10 FROM asked
)
SELECT generation, unlink_generation, desired_at, pg_notify('` + HintChannel + `', id::text) FROM asked`

// decide locks the session's row, lets choose look at it and say what the user
// wants now, and stores that as a new generation. Deciding under the lock is
// what makes exactly one of N concurrent requests succeed. Where choose refuses,
// nothing is written and the session is returned as it is.
//
// The lock spares who inserts a job for the session and so only needs it to
// exist: each would wait for the other. A deletion changes the name, which needs
// the stronger lock, and so may have to try again.
func (s *Store) decide(ctx context.Context, by Actor, action string, name session.Name, choose func(session.Session) (decision, error)) (found session.Session, err error) {
	for range 3 {
		found, err = s.decideOnce(ctx, by, action, name, choose)
		if sqlState(err) != deadlock {
			break
		}
	}
	return found, err
}

func (s *Store) decideOnce(ctx context.Context, by Actor, action string, name session.Name, choose func(session.Session) (decision, error)) (session.Session, error) {
	var found session.Session
	err := s.inTx(ctx, action, func(tx *sql.Tx) error {
		var err error
		if found, err = readSession(ctx, tx, selectSession+` FOR NO KEY UPDATE OF s`, by.Tenant, name); err != nil {
			return err
		}
		chosen, err := choose(found)
		if err != nil {
			return err
		}
		config, secrets, err := chosen.columns()
		if err != nil {
			return err
		}
		w := &found.Wanted
		err = tx.QueryRowContext(ctx, updateWanted, found.ID, chosen.desired, config, secrets, chosen.unlink, chosen.remove, by.Key, action, name, by.Request).
			Scan(&w.Generation, &w.Unlink, &w.At, new(any))
		w.Desired, w.Deleted = chosen.desired, chosen.remove
		if chosen.config != nil {
			found.Config = chosen.config.Config
		}
		return err
	})
	return found, err
}

// columns is the config as the statement takes it: null keeps the stored one.
func (d decision) columns() (config sql.NullString, secrets []byte, err error) {
	if d.config == nil {
		return config, nil, nil
	}
	text, err := json.Marshal(d.config.Config)
	if err != nil {
		return config, nil, fmt.Errorf("encode the config: %w", err)
	}
	return sql.NullString{String: string(text), Valid: true}, d.config.Secrets, nil
}

// movesDevice refuses a config that names another store than the one that a
// linked device is in.
func movesDevice(found session.Session, config *session.Stored) error {
	if config != nil && found.Run.JID != "" && config.Config.Store != found.Config.Store {
		return session.ErrStoreInUse
	}
	return nil
}

// Stop records that the user wants the session off; its credentials stay.
// Errors: session.ErrNotFound, session.ErrStopped (with the session).
func (s *Store) Stop(ctx context.Context, by Actor, name session.Name) (session.Session, error) {
	return s.decide(ctx, by, "session.stop", name, func(found session.Session) (decision, error) {
		if found.Wanted.Desired == session.DesiredStopped {
			return decision{}, session.ErrStopped
		}
		return decision{desired: session.DesiredStopped}, nil
	})
}

// Restart records that the user wants the session to run, over a new connection
// where it runs already. A nil config keeps the stored one. Errors:
// session.ErrNotFound, session.ErrStoreInUse.
func (s *Store) Restart(ctx context.Context, by Actor, name session.Name, config *session.Stored) (session.Session, error) {
	return s.decide(ctx, by, "session.restart", name, func(found session.Session) (decision, error) {
		return decision{desired: session.DesiredRunning, config: config}, movesDevice(found, config)
	})
}

// Update replaces the config, and restarts the session where it is wanted.
// Errors: session.ErrNotFound, session.ErrStoreInUse.
func (s *Store) Update(ctx context.Context, by Actor, name session.Name, config session.Stored) (session.Session, error) {
	return s.decide(ctx, by, "session.update", name, func(found session.Session) (decision, error) {
		return decision{desired: found.Wanted.Desired, config: &config}, movesDevice(found, &config)
	})
}

// Logout records that the user wants the device unlinked. The session goes on
// from scratch where it runs, and stays stopped where it does not. Errors:
// session.ErrNotFound, session.ErrNotAuthenticated.
func (s *Store) Logout(ctx context.Context, by Actor, name session.Name) (session.Session, error) {
	return s.decide(ctx, by, "session.logout", name, func(found session.Session) (decision, error) {
		if found.Device() == "" {
			return decision{}, session.ErrNotAuthenticated
		}
		return decision{desired: found.Wanted.Desired, unlink: true}, nil
	})
}

// Delete records that the user does not want the session any more: it is there
// for nobody from now on. A connector unlinks its device, erases it, and then
// removes the rows. Errors: session.ErrNotFound.
func (s *Store) Delete(ctx context.Context, by Actor, name session.Name) (session.Session, error) {
	return s.decide(ctx, by, "session.delete", name, func(session.Session) (decision, error) {
		return decision{desired: session.DesiredStopped, unlink: true, remove: true}, nil
	})
}
