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

// createSession records a new session, and its job where it is to run, in one
// statement. It does nothing where the name is taken.
const createSession = `
WITH created AS (
    INSERT INTO session (id, tenant_id, name, desired, config, secrets)
    VALUES ($1, $2, $3, $4, $5, $6)
    ON CONFLICT (tenant_id, name) DO NOTHING
    RETURNING id, generation, created_at, desired_at
), run AS (INSERT INTO session_run (session_id) SELECT id FROM created
), pair AS (INSERT INTO pairing (session_id) SELECT id FROM created
), job AS (INSERT INTO start_job (session_id) SELECT id FROM created WHERE $4 = 'running'
), audited AS (
    INSERT INTO audit (tenant_id, key_id, action, subject, session_id, request_id) SELECT $2, $7, $8, $3, id, $9 FROM created
)
SELECT generation, created_at, desired_at, pg_notify('` + HintChannel + `', id::text) FROM created`

// Start records that the user wants the session to run, and enqueues the job,
// in one transaction. A nil config keeps the stored one; a new session gets
// defaults. quota is how many sessions the tenant may have, 0 for any number. It
// reports whether this call created the session.
//
// Errors: session.ErrActive (with the session) where it is starting or running,
// session.ErrStoreInUse where the config would move a linked device,
// session.ErrQuota.
func (s *Store) Start(ctx context.Context, by Actor, name session.Name, config *session.Stored, defaults session.Config, quota int) (session.Session, bool, error) {
	fresh := newSession{name: name, config: session.Stored{Config: defaults}, desired: session.DesiredRunning, action: "session.start", quota: quota}
	if config != nil {
		fresh.config = *config
	}
	// A session may be deleted between the two steps; then the first succeeds the second time.
	for range 3 {
		made, err := s.create(ctx, by, fresh)
		if err == nil || (!errors.Is(err, session.ErrExists) && !errors.Is(err, session.ErrQuota)) {
			return made, err == nil, err
		}
		refused := err
		found, err := s.startAgain(ctx, by, name, config)
		switch {
		case !errors.Is(err, session.ErrNotFound):
			return found, false, err
		case errors.Is(refused, session.ErrQuota):
			return session.Session{}, false, refused
		}
	}
	return session.Session{}, false, fmt.Errorf("%w: start the session: it is deleted and created at the same time", session.ErrUnavailable)
}

// Create records a new session, which runs or not. Errors: session.ErrExists,
// session.ErrQuota.
func (s *Store) Create(ctx context.Context, by Actor, name session.Name, config session.Stored, run bool, quota int) (session.Session, error) {
	fresh := newSession{name: name, config: config, desired: session.DesiredStopped, action: "session.create", quota: quota}
	if run {
		fresh.desired = session.DesiredRunning
	}
	made, err := s.create(ctx, by, fresh)
	if errors.Is(err, session.ErrQuota) {
		if _, known := s.Session(ctx, by.Tenant, name); known == nil {
			err = session.ErrExists
		}
	}
	return made, err
}

type newSession struct {
	name    session.Name
	config  session.Stored
	desired session.Desired
	action  string
	quota   int // 0: any number
}

// create returns session.ErrExists where the name is taken, and
// session.ErrQuota where the tenant has enough, whether or not it is.
func (s *Store) create(ctx context.Context, by Actor, fresh newSession) (session.Session, error) {
	if fresh.quota == 0 {
		return insertSession(ctx, s.db, by, fresh)
	}
	var made session.Session
	err := s.inTx(ctx, "create the session", func(tx *sql.Tx) (err error) {
		// One at a time per tenant, or two of them would both be the last.
		if _, err = tx.ExecContext(ctx, `SELECT FROM tenant WHERE id = $1 FOR NO KEY UPDATE`, by.Tenant); err != nil {
			return err
		}
		var number int
		err = tx.QueryRowContext(ctx, `SELECT count(*) FROM session WHERE tenant_id = $1 AND deleted_at IS NULL`, by.Tenant).Scan(&number)
		if err == nil && number >= fresh.quota {
			err = session.ErrQuota
		}
		if err == nil {
			made, err = insertSession(ctx, tx, by, fresh)
		}
		return err
	})
	return made, err
}

func insertSession(ctx context.Context, q querier, by Actor, fresh newSession) (session.Session, error) {
	text, err := json.Marshal(fresh.config.Config)
	if err != nil {
		return session.Session{}, fmt.Errorf("encode the config: %w", err)
	}
	made := session.Session{ID: session.NewID(), Tenant: by.Tenant, Name: fresh.name, Config: fresh.config.Config}
	made.Wanted.Desired = fresh.desired
	made.Run.State = session.Stopped
	err = q.QueryRowContext(ctx, createSession, made.ID, by.Tenant, fresh.name, fresh.desired, string(text), fresh.config.Secrets, by.Key, fresh.action, by.Request).
		Scan(&made.Wanted.Generation, &made.CreatedAt, &made.Wanted.At, new(any))
	if errors.Is(err, sql.ErrNoRows) {
		return made, session.ErrExists
	}
	made.ReadAt, made.Run.At = made.Wanted.At, made.Wanted.At
	return made, domain("create the session", err)
}

func (s *Store) startAgain(ctx context.Context, by Actor, name session.Name, config *session.Stored) (session.Session, error) {
	return s.decide(ctx, by, "session.start", name, func(found session.Session) (decision, error) {
		if status, _ := found.View(); status.Active() {
			return decision{}, session.ErrActive
		}
		return decision{desired: session.DesiredRunning, config: config}, movesDevice(found, config)
	})
}
