package store

import (
	"context"
	"database/sql"
	"math"
	"time"
)

// PresentedKey is what it takes to judge a key that a caller presents.
type PresentedKey struct {
	Key
	Hash  []byte        // SHA-256 of the stored key
	Quota *int          // of its tenant; see Tenant
	Left  time.Duration // until it expires, at most a year; 0 where it works no more
}

// maxLeft keeps a far expiry from overflowing.
const maxLeft = 365 * 24 * time.Hour

// keyByID also notes the use of a key, so that a request costs one statement.
// The condition on last_used_at is on the written row: of many processes that
// see the same minute pass, one writes.
const keyByID = `
WITH found AS (
    SELECT k.*, t.session_quota, ` + keyLives + ` AS lives FROM api_key k JOIN tenant t ON t.id = k.tenant_id WHERE k.id = $1
), used AS (
    UPDATE api_key k SET last_used_at = now() FROM found f
    WHERE k.id = f.id AND f.lives AND f.hash = $2 AND (k.last_used_at IS NULL OR k.last_used_at <= now() - interval '1 minute')
)
SELECT ` + keyColumns + `, hash, session_quota,
    CASE WHEN NOT lives THEN 0 ELSE COALESCE(extract(epoch FROM expires_at - now()), 'infinity') END::float8
FROM found`

// KeyByID returns a key, living or not, or session.ErrNotFound. Where it lives
// and the hash of what was presented is its own, its use is noted, at most once
// a minute. The comparison that decides about the caller is not this one: it is
// the caller's, in constant time.
func (s *Store) KeyByID(ctx context.Context, id string, presented []byte) (PresentedKey, error) {
	var (
		found PresentedKey
		quota sql.NullInt32
		left  float64 // seconds
	)
	key, err := scanKey(also{s.db.QueryRowContext(ctx, keyByID, id, presented), []any{&found.Hash, &quota, &left}})
	if err != nil {
		return PresentedKey{}, domain("look up the API key", err)
	}
	found.Key = key
	if quota.Valid {
		n := int(quota.Int32)
		found.Quota = &n
	}
	found.Left = time.Duration(math.Min(left, maxLeft.Seconds()) * float64(time.Second))
	return found, nil
}

// also scans more columns than its user knows.
type also struct {
	scanner
	more []any
}

func (a also) Scan(dest ...any) error { return a.scanner.Scan(append(dest, a.more...)...) }
