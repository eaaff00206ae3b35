package chaos

import (
	"context"
	"fmt"
)

// sight is what the database says of a session at one moment.
type sight struct {
	id                   string
	epoch, pairingEpoch  int64
	holder, state, why   string
	desired, jid         string
	generation, seen     int64
	coded, stale, queued bool // has codes, that should be gone, and a start job
	alive                bool // its holder's lease has not passed
	deleted, unlinking   bool // it is to be erased, its device to be unlinked
}

const look = `
SELECT s.id, s.name, s.desired, s.generation, r.seen_generation, r.epoch, p.epoch, COALESCE(r.holder, ''), r.state,
    COALESCE(r.reason_code, ''), COALESCE(r.jid, ''), p.codes IS NOT NULL OR p.code IS NOT NULL,
    COALESCE(p.codes IS NOT NULL AND p.started_at + (p.first_ms + p.next_ms * (cardinality(p.codes) - 1)) * interval '1 millisecond' < now() - interval '5 seconds', false)
        OR COALESCE(p.code IS NOT NULL AND p.code_valid_until < now() - interval '5 seconds', false),
    j.session_id IS NOT NULL, COALESCE(c.lease_until > now(), false),
    s.deleted_at IS NOT NULL, s.unlink_generation > r.linked_generation AND r.jid IS NOT NULL
FROM session s JOIN session_run r ON r.session_id = s.id JOIN pairing p ON p.session_id = s.id
LEFT JOIN start_job j ON j.session_id = s.id LEFT JOIN connector c ON c.id = r.holder`

// look reads every session.
func (f *fleet) look(ctx context.Context) (map[string]sight, error) {
	rows, err := f.db.QueryContext(ctx, look)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	seen := map[string]sight{}
	for rows.Next() {
		var (
			name string
			s    sight
		)
		if err := rows.Scan(&s.id, &name, &s.desired, &s.generation, &s.seen, &s.epoch, &s.pairingEpoch, &s.holder, &s.state, &s.why, &s.jid, &s.coded, &s.stale, &s.queued, &s.alive, &s.deleted, &s.unlinking); err != nil {
			return nil, err
		}
		seen[name] = s
		if known := f.sessions[name]; known != nil {
			known.mu.Lock()
			known.id = s.id
			known.mu.Unlock()
		}
	}
	return seen, rows.Err()
}

// well reports whether a session is as its user wants it, as far as it can be,
// and whether it has a socket then.
func (s sight) well() (ok, open bool) {
	if s.deleted || s.unlinking {
		return false, false
	}
	if s.desired != "running" {
		return s.holder == "", false
	}
	open = s.state == "WORKING" || s.state == "SCAN_QR_CODE"
	return s.seen >= s.generation && (open && s.alive || s.state == "FAILED"), open
}

// wrong says what no moment may show.
func (s sight) wrong() string {
	switch {
	case s.pairingEpoch > s.epoch:
		return fmt.Sprintf("its codes are of epoch %d, it is of %d", s.pairingEpoch, s.epoch)
	case s.desired == "running" && s.holder == "" && !s.queued && s.state != "FAILED":
		return "its start job is lost: it is wanted, and has neither a holder nor a job"
	case (s.deleted || s.unlinking && s.state != "FAILED") && s.holder == "" && !s.queued:
		return "its start job is lost: it is to be erased or unlinked, and has neither a holder nor a job"
	}
	return ""
}

// wrongAfter says what may not follow from an earlier sight.
func (s sight) wrongAfter(before sight) string {
	switch {
	case s.epoch < before.epoch:
		return fmt.Sprintf("its epoch went from %d to %d", before.epoch, s.epoch)
	case s.pairingEpoch < before.pairingEpoch:
		return fmt.Sprintf("the epoch of its codes went from %d to %d", before.pairingEpoch, s.pairingEpoch)
	case s.generation < before.generation:
		return fmt.Sprintf("what is wanted went from generation %d to %d", before.generation, s.generation)
	case s.holder != "" && before.holder != "" && s.holder != before.holder && s.epoch == before.epoch:
		return fmt.Sprintf("epoch %d has two holders, %s and %s", s.epoch, before.holder, s.holder)
	}
	return ""
}
