package store

import (
	"context"
	"time"
)

const clientVersion = `SELECT version, extract(epoch FROM now() - refreshed_at) FROM client_version`

// ClientVersion returns the WhatsApp client version that the fleet presents and
// its age, or session.ErrNotFound before the first refresh.
func (s *Store) ClientVersion(ctx context.Context) (version string, age time.Duration, err error) {
	var seconds float64
	err = s.db.QueryRowContext(ctx, clientVersion).Scan(&version, &seconds)
	return version, time.Duration(seconds * float64(time.Second)), domain("read the client version", err)
}

const setClientVersion = `
INSERT INTO client_version (version) VALUES ($1)
ON CONFLICT (one) DO UPDATE SET version = excluded.version, refreshed_at = now()`

// SetClientVersion stores a refreshed version for the whole fleet.
func (s *Store) SetClientVersion(ctx context.Context, version string) error {
	_, err := s.db.ExecContext(ctx, setClientVersion, version)
	return domain("store the client version", err)
}
