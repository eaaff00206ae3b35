package store

import (
	"context"

	"github.com/wafleet/wafleet/shared/session"
)

// Look says what there is to do for a connector.
type Look struct {
	Deaths  bool // a dead connector has sessions that EnqueueOrphans has not seen to
	Jobs    bool // a start job is due
	Changes bool // ChangesHeld would return some
}

// The jobs of the dead's sessions may wait long where there is no room, and
// sessions that gave up get none.
const look = `
SELECT EXISTS (
    SELECT FROM connector c JOIN session_run r ON r.holder = c.id
    WHERE c.lease_until <= now() AND r.state <> 'FAILED' AND NOT EXISTS (SELECT FROM start_job j WHERE j.session_id = r.session_id)
), EXISTS (
    SELECT FROM start_job WHERE available_at <= now()
), EXISTS (
    SELECT` + fromChanges + `
)`

// LookAround is what every poll asks: one statement while nothing happens. It
// costs a look at each connector and at each session that the asking one holds.
func (s *Store) LookAround(ctx context.Context, me session.ConnectorID) (l Look, err error) {
	err = s.often.QueryRowContext(ctx, look, me).Scan(&l.Deaths, &l.Jobs, &l.Changes)
	return l, domain("look around", err)
}
