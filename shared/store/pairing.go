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
UPDATE pairing q SET codes = u.codes::text[], started_at = now(), first_ms = u.first_ms, next_ms = u.next_ms
FROM unnest($1::uuid[], $2::bigint[], $3::text[], $4::bigint[], $5::bigint[]) AS u(session_id, epoch, codes, first_ms, next_ms)
WHERE q.session_id = u.session_id AND q.epoch = u.epoch
RETURNING q.session_id`

// shown are the codes of a session that one of its terms shows.
type shown struct {
	Term
	codes session.QRCodes
}

// PutQRIfEpoch stores one set of QR codes, shown from now on. q.StartedAt is
// ignored: the database's clock counts. Calls at the same time share statements.
func (s *Store) PutQRIfEpoch(ctx context.Context, term Term, q session.QRCodes) error {
	missed, err := s.puts.do(ctx, shown{term, q}, s.putCodes)
	if err == nil && missed {
		return session.ErrFenced
	}
	return err
}

// putCodes reports of each whether its epoch had moved on.
func (s *Store) putCodes(ctx context.Context, all []shown) (missed []bool, err error) {
	n := len(all)
	ids, epochs, codes := make([]string, n), make([]int64, n), make([]string, n)
	first, next := make([]int64, n), make([]int64, n)
	for i, q := range all {
		ids[i], epochs[i], codes[i] = string(q.ID), int64(q.Epoch), arrayText(pq.StringArray(q.codes.Codes))
		first[i], next[i] = milliseconds(q.codes.First), milliseconds(q.codes.Next)
	}
	written, err := collect(ctx, s.often, "store the QR codes", scanID, putCodesIfEpoch,
		pq.Array(ids), pq.Array(epochs), pq.Array(codes), pq.Array(first), pq.Array(next))
	if err != nil {
		return nil, err
	}
	ok := setOf(written)
	missed = make([]bool, n)
	for i, q := range all {
		missed[i] = !ok[q.ID]
	}
	return missed, nil
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

const selectPairings = `
SELECT ` + sessionColumns + `, p.codes, p.started_at, p.first_ms, p.next_ms, k.n
FROM unnest($1::uuid[], $2::text[]) WITH ORDINALITY AS k(tenant_id, name, n)
JOIN (` + sessionTables + ` JOIN pairing p ON p.session_id = s.id AND p.epoch = r.epoch)
    ON s.tenant_id = k.tenant_id AND s.name = k.name AND s.deleted_at IS NULL`

// named is a session as users name it.
type named struct {
	tenant session.TenantID
	name   session.Name
}

// linking is a session and the codes that a phone may scan; without an ID there
// is none.
type linking struct {
	session.Session
	session.Pairing
}

// Pairing reads a session and the codes that a phone may scan, if any. Whoever
// waits for a code asks again and again, so calls at the same time share
// statements.
func (s *Store) Pairing(ctx context.Context, tenant session.TenantID, name session.Name) (session.Session, session.Pairing, error) {
	found, err := s.reads.do(ctx, named{tenant, name}, s.pairings)
	if err == nil && found.ID == "" {
		err = session.ErrNotFound
	}
	return found.Session, found.Pairing, err
}

func (s *Store) pairings(ctx context.Context, all []named) ([]linking, error) {
	tenants, names := make([]string, len(all)), make([]string, len(all))
	for i, one := range all {
		tenants[i], names[i] = string(one.tenant), string(one.name)
	}
	found := make([]linking, len(all))
	_, err := collect(ctx, s.db, "read the pairing", func(rows *sql.Rows) (none struct{}, err error) {
		l, n, err := scanLinking(rows)
		if err == nil {
			found[n-1] = l
		}
		return none, err
	}, selectPairings, pq.Array(tenants), pq.Array(names))
	return found, err
}

// scanLinking also returns which of those that were asked for it is, from 1 on.
func scanLinking(rows *sql.Rows) (l linking, n int, err error) {
	var (
		startedAt   sql.NullTime
		first, next sql.NullInt64
		qr          = &l.QR
	)
	l.Session, err = scanSession(rows, pq.Array(&qr.Codes), &startedAt, &first, &next, &n)
	qr.StartedAt = startedAt.Time
	qr.First, qr.Next = time.Duration(first.Int64)*time.Millisecond, time.Duration(next.Int64)*time.Millisecond
	return l, n, err
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
