package store

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"

	"github.com/lib/pq"
	"github.com/wafleet/wafleet/shared/session"
)

// wanted is the condition under which somebody has to hold a session s, of which
// r is the run: the user wants it to run, or its device unlinked, or the whole
// of it erased.
const wanted = `(s.desired = 'running' OR s.deleted_at IS NOT NULL OR (s.unlink_generation > r.linked_generation AND r.jid IS NOT NULL))`

// sessionColumns and sessionTables read one whole session.Session. A working
// session was heard at its holder's last heartbeat too.
const (
	sessionColumns = `s.id, s.tenant_id, s.name, s.desired, s.generation, s.unlink_generation, s.desired_at, s.config::text, s.created_at,
    r.holder, c.lease_until, r.epoch, r.state, r.reason_code, r.reason_message, r.reason_at, r.retry_at,
    r.seen_generation, r.jid, r.linked_generation, r.push_name, r.state_at,
    CASE WHEN r.state = 'WORKING' THEN GREATEST(r.heard_at, c.heard_at) ELSE r.heard_at END, r.reconnects, r.reconnects_at, now()`
	sessionTables = `session s JOIN session_run r ON r.session_id = s.id LEFT JOIN connector c ON c.id = r.holder`

	selectSession  = `SELECT ` + sessionColumns + ` FROM ` + sessionTables + ` WHERE s.tenant_id = $1 AND s.name = $2 AND s.deleted_at IS NULL`
	selectSessions = `SELECT ` + sessionColumns + ` FROM ` + sessionTables + `
WHERE s.tenant_id = $1 AND s.deleted_at IS NULL AND ($2 OR s.desired = 'running') AND ($5 = '' OR s.name = $5)
ORDER BY s.name LIMIT $3 OFFSET $4`
)

// Filter says which sessions of a tenant to list.
type Filter struct {
	All    bool         // stopped ones too
	Name   session.Name // only this one; empty for all
	Limit  int
	Offset int
}

// Session reads one session by name, or session.ErrNotFound.
func (s *Store) Session(ctx context.Context, tenant session.TenantID, name session.Name) (session.Session, error) {
	return readSession(ctx, s.db, selectSession, tenant, name)
}

// Sessions lists a tenant's sessions by name.
func (s *Store) Sessions(ctx context.Context, tenant session.TenantID, f Filter) ([]session.Session, error) {
	return collect(ctx, s.db, "list the sessions", func(rows *sql.Rows) (session.Session, error) { return scanSession(rows) },
		selectSessions, tenant, f.All, f.Limit, f.Offset, f.Name)
}

func readSession(ctx context.Context, q querier, query string, args ...any) (session.Session, error) {
	found, err := scanSession(q.QueryRowContext(ctx, query, args...))
	return found, domain("read the session", err)
}

type scanner interface{ Scan(dest ...any) error }

// scanSession reads sessionColumns, and whatever columns the caller added.
func scanSession(row scanner, more ...any) (session.Session, error) {
	var (
		found                            session.Session
		config                           string
		holder, code, message, jid, push sql.NullString
		leaseUntil, reasonAt, retryAt    sql.NullTime
		heardAt, reconnectsAt            sql.NullTime
		reconnects                       pq.Int64Array
		w                                = &found.Wanted
		r                                = &found.Run
	)
	dest := append([]any{
		&found.ID, &found.Tenant, &found.Name, &w.Desired, &w.Generation, &w.Unlink, &w.At, &config, &found.CreatedAt,
		&holder, &leaseUntil, &r.Epoch, &r.State, &code, &message, &reasonAt, &retryAt,
		&r.SeenGeneration, &jid, &r.Linked, &push, &r.At, &heardAt, &reconnects, &reconnectsAt, &found.ReadAt,
	}, more...)
	if err := row.Scan(dest...); err != nil {
		return session.Session{}, err
	}
	if err := json.Unmarshal([]byte(config), &found.Config); err != nil {
		return session.Session{}, fmt.Errorf("stored config of session %s: %w", found.ID, err)
	}
	r.Holder, r.LeaseUntil = session.ConnectorID(holder.String), leaseUntil.Time
	r.JID, r.PushName = jid.String, push.String
	r.HeardAt, r.Reconnects = heardAt.Time, session.LastHourOf(reconnects, reconnectsAt.Time)
	r.Reason = reasonOf(code, message, reasonAt, retryAt)
	return found, nil
}

func reasonOf(code, message sql.NullString, at, retryAt sql.NullTime) *session.Reason {
	if !code.Valid {
		return nil
	}
	reason := &session.Reason{Code: session.ReasonCode(code.String), Message: message.String, At: at.Time.UTC()}
	if retryAt.Valid {
		utc := retryAt.Time.UTC()
		reason.RetryAt = &utc
	}
	return reason
}
