package store

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/wafleet/wafleet/shared/session"
)

// HintChannel carries session ids: "something about this session changed".
// A hint may be lost, late or doubled; rows are the truth.
const HintChannel = "wafleet_session"

// createSession records a new session and its job in one statement, and does
// nothing where the name is taken.
const createSession = `
WITH created AS (
    INSERT INTO session (id, tenant_id, name, desired, config) VALUES ($1, $2, $3, 'running', $4)
    ON CONFLICT (tenant_id, name) DO NOTHING
    RETURNING id, generation, created_at, desired_at
), run AS (INSERT INTO session_run (session_id) SELECT id FROM created
), pair AS (INSERT INTO pairing (session_id) SELECT id FROM created
), job AS (INSERT INTO start_job (session_id) SELECT id FROM created)
SELECT generation, created_at, desired_at, pg_notify('` + HintChannel + `', id::text) FROM created`

// Start records that the user wants the session to run, and enqueues the job,
// in one transaction. A nil config keeps the stored one; a new session gets
// defaults. It reports whether this call created the session.
//
// Errors: session.ErrActive (with the session) where it is starting or running,
// session.ErrStoreInUse where the config would move a linked device.
func (s *Store) Start(ctx context.Context, tenant session.TenantID, name session.Name, config *session.Config, defaults session.Config) (session.Session, bool, error) {
	fresh := defaults
	if config != nil {
		fresh = *config
	}
	// A session may be deleted between the two steps; then the first succeeds the second time.
	for range 3 {
		made, err := s.create(ctx, tenant, name, fresh)
		if err == nil || !errors.Is(err, session.ErrNotFound) {
			return made, err == nil, err
		}
		found, err := s.startAgain(ctx, tenant, name, config)
		if !errors.Is(err, session.ErrNotFound) {
			return found, false, err
		}
	}
	return session.Session{}, false, fmt.Errorf("%w: start the session: it is deleted and created at the same time", session.ErrUnavailable)
}

// create returns session.ErrNotFound where the name is taken.
func (s *Store) create(ctx context.Context, tenant session.TenantID, name session.Name, config session.Config) (session.Session, error) {
	text, err := json.Marshal(config)
	if err != nil {
		return session.Session{}, fmt.Errorf("encode the config: %w", err)
	}
	made := session.Session{ID: session.NewID(), Tenant: tenant, Name: name, Config: config}
	made.Wanted.Desired = session.DesiredRunning
	made.Run.State = session.Stopped
	err = s.db.QueryRowContext(ctx, createSession, made.ID, tenant, name, string(text)).
		Scan(&made.Wanted.Generation, &made.CreatedAt, &made.Wanted.At, new(any))
	made.ReadAt, made.Run.At = made.Wanted.At, made.Wanted.At
	return made, domain("create the session", err)
}

// updateWanted stores a decision and its consequences for the queue. The job of
// a banned account waits for the end of the ban.
const updateWanted = `
WITH wanted AS (
    UPDATE session SET desired = $2, generation = generation + 1, config = COALESCE($3::json, config), desired_at = now()
    WHERE id = $1 RETURNING id, generation, desired, desired_at
), queued AS (
    INSERT INTO start_job (session_id, available_at)
    SELECT w.id, GREATEST(now(), CASE WHEN r.reason_code = 'TEMP_BAN' THEN r.retry_at END)
    FROM wanted w JOIN session_run r ON r.session_id = w.id WHERE w.desired = 'running'
    ON CONFLICT (session_id) DO UPDATE SET available_at = excluded.available_at
), dropped AS (
    DELETE FROM start_job j USING wanted w WHERE j.session_id = w.id AND w.desired = 'stopped'
), forgotten AS (
    DELETE FROM pairing_request q USING wanted w WHERE q.session_id = w.id
)
SELECT generation, desired_at, pg_notify('` + HintChannel + `', id::text) FROM wanted`

func (s *Store) startAgain(ctx context.Context, tenant session.TenantID, name session.Name, config *session.Config) (session.Session, error) {
	return s.decide(ctx, "start the session", tenant, name, func(found *session.Session) error {
		if status, _ := found.View(); status.Active() {
			return session.ErrActive
		}
		if config != nil {
			if found.Run.JID != "" && config.Store != found.Config.Store {
				return session.ErrStoreInUse
			}
			found.Config = *config
		}
		found.Wanted.Desired = session.DesiredRunning
		return nil
	})
}

// Stop records that the user wants the session off; its credentials stay.
// Errors: session.ErrNotFound, session.ErrStopped (with the session).
func (s *Store) Stop(ctx context.Context, tenant session.TenantID, name session.Name) (session.Session, error) {
	return s.decide(ctx, "stop the session", tenant, name, func(found *session.Session) error {
		if found.Wanted.Desired == session.DesiredStopped {
			return session.ErrStopped
		}
		found.Wanted.Desired = session.DesiredStopped
		return nil
	})
}

// decide locks the session's row, lets change look at it and say what the user
// wants now, and stores that as a new generation. Deciding under the lock is
// what makes exactly one of N concurrent requests succeed. Where change
// refuses, nothing is written and the session is returned as it is.
func (s *Store) decide(ctx context.Context, what string, tenant session.TenantID, name session.Name, change func(*session.Session) error) (session.Session, error) {
	var found session.Session
	err := s.inTx(ctx, what, func(tx *sql.Tx) error {
		var err error
		if found, err = readSession(ctx, tx, selectSession+` FOR UPDATE OF s`, tenant, name); err != nil {
			return err
		}
		if err := change(&found); err != nil {
			return err
		}
		text, err := json.Marshal(found.Config)
		if err != nil {
			return fmt.Errorf("encode the config: %w", err)
		}
		return tx.QueryRowContext(ctx, updateWanted, found.ID, found.Wanted.Desired, string(text)).
			Scan(&found.Wanted.Generation, &found.Wanted.At, new(any))
	})
	return found, err
}
