package store

import (
	"context"
	"database/sql"
	"time"

	"github.com/google/uuid"
	"github.com/wafleet/wafleet/shared/session"
)

const (
	// answerLife is how long a stored answer is given to who asks again.
	answerLife = 24 * time.Hour
	// claimLife is when a request that runs counts as dead. It is far above what
	// any request may take, so that no second run meets the first.
	claimLife = time.Minute
)

// Repeatable is a request that its caller may send again under the same key.
type Repeatable struct {
	Tenant      session.TenantID
	Key         string   // 1 to 255 characters, the caller's
	Fingerprint [32]byte // of everything that was asked
}

// Answer is what a request was answered.
type Answer struct {
	Status      int
	ContentType string
	Body        []byte
}

// IdempotencyClaim is what stands under a request's key.
type IdempotencyClaim struct {
	Repeatable
	Mine   bool    // the caller runs the request and finishes the claim
	Same   bool    // it stands there for the same request
	Answer *Answer // nil while the request runs

	id uuid.UUID
}

// claimIdempotency updates the row also where it stays as it is: the row that
// RETURNING sees is then the newest one, locked, and a request that raced this
// one cannot hide from it.
const claimIdempotency = `
INSERT INTO idempotency AS i (tenant_id, key, fingerprint, claim, expires_at)
VALUES ($1, $2, $3, $4, now() + $5 * interval '1 millisecond')
ON CONFLICT (tenant_id, key) DO UPDATE SET (fingerprint, claim, status, content_type, body, created_at, expires_at) = (
    SELECT n.fingerprint, n.claim, n.status, n.content_type, n.body, n.created_at, n.expires_at
    FROM (VALUES
        (true, excluded.fingerprint, excluded.claim, NULL::int, NULL::text, NULL::bytea, now(), excluded.expires_at),
        (false, i.fingerprint, i.claim, i.status, i.content_type, i.body, i.created_at, i.expires_at)
    ) n (gone, fingerprint, claim, status, content_type, body, created_at, expires_at)
    WHERE n.gone = (i.expires_at <= now()))
RETURNING claim = $4, fingerprint = $3, status, content_type, body`

// ClaimIdempotency takes a request's key for its caller where it is free, and
// says what stands under it otherwise.
func (s *Store) ClaimIdempotency(ctx context.Context, request Repeatable) (IdempotencyClaim, error) {
	claim := IdempotencyClaim{Repeatable: request, id: uuid.New()}
	var (
		status      sql.NullInt32
		contentType sql.NullString
		body        []byte
	)
	err := s.db.QueryRowContext(ctx, claimIdempotency, request.Tenant, request.Key, request.Fingerprint[:], claim.id, milliseconds(claimLife)).
		Scan(&claim.Mine, &claim.Same, &status, &contentType, &body)
	if status.Valid {
		claim.Answer = &Answer{Status: int(status.Int32), ContentType: contentType.String, Body: body}
	}
	return claim, domain("claim the idempotency key", err)
}

const answerIdempotency = `
UPDATE idempotency SET status = $4, content_type = $5, body = $6, expires_at = now() + $7 * interval '1 millisecond'
WHERE tenant_id = $1 AND key = $2 AND claim = $3 AND status IS NULL`

// AnswerIdempotency stores the answer of a claimed request for 24 h. It does
// nothing where somebody else has claimed the key since.
func (s *Store) AnswerIdempotency(ctx context.Context, claim IdempotencyClaim, answer Answer) error {
	_, err := s.db.ExecContext(ctx, answerIdempotency, claim.Tenant, claim.Key, claim.id,
		answer.Status, answer.ContentType, answer.Body, milliseconds(answerLife))
	return domain("store the answer under its idempotency key", err)
}

const releaseIdempotency = `DELETE FROM idempotency WHERE tenant_id = $1 AND key = $2 AND claim = $3 AND status IS NULL`

// ReleaseIdempotency gives a claimed key back: nothing came of the request that
// is worth keeping.
func (s *Store) ReleaseIdempotency(ctx context.Context, claim IdempotencyClaim) error {
	_, err := s.db.ExecContext(ctx, releaseIdempotency, claim.Tenant, claim.Key, claim.id)
	return domain("give the idempotency key back", err)
}

const forgetIdempotency = `
DELETE FROM idempotency WHERE (tenant_id, key) IN (
    SELECT tenant_id, key FROM idempotency WHERE expires_at <= now() ORDER BY expires_at LIMIT $1 FOR UPDATE SKIP LOCKED)`

// ForgetIdempotency removes at most limit rows that have passed and returns how
// many it did.
func (s *Store) ForgetIdempotency(ctx context.Context, limit int) (int, error) {
	return s.forget(ctx, "forget idempotency keys", forgetIdempotency, limit)
}
