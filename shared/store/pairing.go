package store

import (
	"context"
	"database/sql"
	"time"

	"github.com/google/uuid"
	"github.com/lib/pq"
	"github.com/wafleet/wafleet/shared/session"
)

const putCodesIfEpoch = `
UPDATE pairing SET codes = $3, started_at = now(), first_ms = $4, next_ms = $5
WHERE session_id = $1 AND epoch = $2`

// PutQRIfEpoch stores one set of QR codes, shown from now on. q.StartedAt is
// ignored: the database's clock counts.
func (s *Store) PutQRIfEpoch(ctx context.Context, term Term, q session.QRCodes) error {
	return s.oneRow(ctx, "store the QR codes", session.ErrFenced, putCodesIfEpoch,
		term.ID, term.Epoch, pq.Array(q.Codes), milliseconds(q.First), milliseconds(q.Next))
}

const clearPairingIfEpoch = `
UPDATE pairing SET codes = NULL, started_at = NULL, code = NULL, code_problem = NULL
WHERE session_id = $1 AND epoch = $2`

// ClearPairingIfEpoch removes every code of a session, after pairing or expiry.
func (s *Store) ClearPairingIfEpoch(ctx context.Context, term Term) error {
	return s.oneRow(ctx, "remove the pairing codes", session.ErrFenced, clearPairingIfEpoch, term.ID, term.Epoch)
}

const answerCodeIfEpoch = `
UPDATE pairing SET code_request = $3, code = NULLIF($4, ''), code_problem = NULLIF($5, ''),
    code_valid_until = now() + $6 * interval '1 millisecond'
WHERE session_id = $1 AND epoch = $2`

// AnswerCodeIfEpoch answers a request with a code that is valid for life, or
// with a problem.
func (s *Store) AnswerCodeIfEpoch(ctx context.Context, term Term, request, code, problem string, life time.Duration) error {
	return s.oneRow(ctx, "store the pairing code", session.ErrFenced, answerCodeIfEpoch,
		term.ID, term.Epoch, request, code, problem, milliseconds(life))
}

const selectPairing = `
SELECT ` + sessionColumns + `, p.codes, p.started_at, p.first_ms, p.next_ms
FROM ` + sessionTables + ` JOIN pairing p ON p.session_id = s.id AND p.epoch = r.epoch
WHERE s.tenant_id = $1 AND s.name = $2 AND s.deleted_at IS NULL`

// Pairing reads a session and the codes that a phone may scan, if any.
func (s *Store) Pairing(ctx context.Context, tenant session.TenantID, name session.Name) (session.Session, session.Pairing, error) {
	var (
		p           session.Pairing
		startedAt   sql.NullTime
		first, next sql.NullInt64
	)
	row := s.db.QueryRowContext(ctx, selectPairing, tenant, name)
	found, err := scanSession(row, pq.Array(&p.QR.Codes), &startedAt, &first, &next)
	if err != nil {
		return found, p, domain("read the pairing", err)
	}
	p.QR.StartedAt = startedAt.Time
	p.QR.First, p.QR.Next = time.Duration(first.Int64)*time.Millisecond, time.Duration(next.Int64)*time.Millisecond
	return found, p, nil
}

// requestLife bounds how long a request may wait for a holder.
const requestLife = 30 * time.Second

// requestCode joins a request for the same phone that still waits.
const requestCode = `
WITH asked AS (
    INSERT INTO pairing_request AS q (session_id, id, phone, expires_at)
    SELECT id, $3, $4, now() + $5 * interval '1 millisecond' FROM session WHERE tenant_id = $1 AND name = $2 AND deleted_at IS NULL
    ON CONFLICT (session_id) DO UPDATE SET
        id = CASE WHEN q.phone = excluded.phone AND q.expires_at > now() THEN q.id ELSE excluded.id END,
        phone = excluded.phone, expires_at = excluded.expires_at
    RETURNING q.session_id, q.id
), audited AS (
    INSERT INTO audit (tenant_id, key_id, action, subject, session_id, request_id) SELECT $1, $6, 'session.request-code', $2, session_id, $7 FROM asked
)
SELECT id, pg_notify('` + HintChannel + `', session_id::text) FROM asked`

// RequestCode asks the session's holder for a pairing code and returns the id
// of the request. A second request for another phone replaces the first.
func (s *Store) RequestCode(ctx context.Context, by Actor, name session.Name, phone session.Phone) (string, error) {
	var id string
	err := s.db.QueryRowContext(ctx, requestCode, by.Tenant, name, uuid.NewString(), string(phone), milliseconds(requestLife), by.Key, by.Request).Scan(&id, new(any))
	return id, domain("ask for a pairing code", err)
}

const codeAnswer = `
SELECT COALESCE(p.code, ''), COALESCE(p.code_problem, ''), COALESCE(p.code_valid_until, now())
FROM pairing p JOIN session_run r ON r.session_id = p.session_id AND r.epoch = p.epoch
WHERE p.code_request = $1 AND (p.code IS NOT NULL OR p.code_problem IS NOT NULL)
UNION ALL
SELECT '', 'another request for a pairing code took its place', now()
WHERE NOT EXISTS (SELECT FROM pairing_request WHERE id = $1)
LIMIT 1`

// CodeAnswer reports whether the holder has answered, and what.
func (s *Store) CodeAnswer(ctx context.Context, request string) (session.CodeAnswer, bool, error) {
	var a session.CodeAnswer
	err := s.db.QueryRowContext(ctx, codeAnswer, request).Scan(&a.Code, &a.Problem, &a.ValidUntil)
	if err == sql.ErrNoRows {
		return a, false, nil
	}
	return a, err == nil, domain("read the pairing code", err)
}

// ForgetCodeRequest removes a request that nobody waits for any more.
func (s *Store) ForgetCodeRequest(ctx context.Context, request string) error {
	_, err := s.db.ExecContext(ctx, `DELETE FROM pairing_request WHERE id = $1`, request)
	return domain("forget the request", err)
}
