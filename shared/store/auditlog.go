package store

import (
	"context"
	"database/sql"
	"time"

	"github.com/wafleet/wafleet/shared/session"
)

// AuditEntry is one deed. It is written in the statement that does it.
type AuditEntry struct {
	ID      int64 // grows
	At      time.Time
	Key     string // who: id of the API key, or Operator
	Action  string // such as key.create
	Subject string // the session's name, the key's id, the tenant's name; "old -> new" for key.rotate
	Session session.ID
	Request string // id of the request, empty where there was none
}

// AuditFilter says which deeds to list; an empty field stands for all.
type AuditFilter struct {
	Key     string
	Action  string
	Subject string // a part of it
	Before  int64  // entries with a lower id: the next page; 0 for the newest
	Limit   int
}

const auditEntries = `
SELECT id, at, key_id, action, subject, COALESCE(session_id::text, ''), request_id FROM audit
WHERE tenant_id = $1 AND ($2 = '' OR key_id = $2) AND ($3 = '' OR action = $3) AND ($4 = '' OR strpos(subject, $4) > 0) AND ($5::bigint = 0 OR id < $5)
ORDER BY id DESC LIMIT $6`

// Audit lists a tenant's deeds, the newest first.
func (s *Store) Audit(ctx context.Context, tenant session.TenantID, f AuditFilter) ([]AuditEntry, error) {
	return collect(ctx, s.db, "read the audit", func(rows *sql.Rows) (AuditEntry, error) {
		var e AuditEntry
		return e, rows.Scan(&e.ID, &e.At, &e.Key, &e.Action, &e.Subject, &e.Session, &e.Request)
	}, auditEntries, tenant, f.Key, f.Action, f.Subject, f.Before, f.Limit)
}

// forgetAudit leaves out what another process is deleting already.
const forgetAudit = `
DELETE FROM audit WHERE id IN (
    SELECT id FROM audit WHERE at < now() - $1 * interval '1 millisecond' LIMIT $2 FOR UPDATE SKIP LOCKED
)`

// ForgetAudit removes at most limit entries that are older and returns how many
// it did.
func (s *Store) ForgetAudit(ctx context.Context, olderThan time.Duration, limit int) (int, error) {
	return s.forget(ctx, "forget old audit entries", forgetAudit, milliseconds(olderThan), limit)
}
