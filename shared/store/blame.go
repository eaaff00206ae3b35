package store

import (
	"context"
	"database/sql"

	"github.com/wafleet/wafleet/shared/session"
)

// lastTerm locks the row, so that nobody claims the session between the
// judgement and the sentence.
const lastTerm = `
SELECT epoch, CASE WHEN fault_at > now() - $3 * interval '1 millisecond' THEN faults ELSE 0 END
FROM session_run WHERE session_id = $1 AND holder = $2 FOR UPDATE`

// blameIfHeld ends a term of the dead. It is a claim by nobody, so the epoch
// goes up: what the dead sent last may still wait for a lock. The next claim will
// not know who the holder was, so its connections end here. A job may be there
// already, where the lease has passed and somebody looked for orphans.
const blameIfHeld = `
WITH u AS (SELECT * FROM ` + reportRows + `), dead AS (
    SELECT $1::text AS holder
), ` + silencing + `, written AS (
    UPDATE session_run r SET holder = NULL, epoch = r.epoch + 1, ` + reportColumns + `
    FROM u CROSS JOIN (SELECT count(*) FROM silenced) first WHERE r.session_id = u.session_id AND r.epoch = u.epoch AND r.holder = $1
    RETURNING r.session_id, r.epoch, r.state, r.seen_generation, r.retry_at, r.jid, r.linked_generation
), cleared AS (
    UPDATE pairing q SET epoch = w.epoch, codes = NULL, started_at = NULL, code = NULL, code_request = NULL, code_problem = NULL
    FROM written w WHERE q.session_id = w.session_id
), judged AS (
    SELECT r.session_id, r.retry_at, ` + goesOn + ` AS goes_on FROM written r JOIN session s ON s.id = r.session_id
), dropped AS (
    DELETE FROM start_job j USING judged d WHERE j.session_id = d.session_id AND NOT d.goes_on
)
INSERT INTO start_job (session_id, available_at)
SELECT session_id, GREATEST(now(), retry_at) FROM judged WHERE goes_on
ON CONFLICT (session_id) DO UPDATE SET available_at = excluded.available_at`

// BlameIfHeld ends the term of the session that killed its connector. Only who
// knows that the connector is gone may call it, before the end of its lease
// gives the session to another. judge completes the last report; before is how
// many terms a bug has ended already. It returns what was written, or
// session.ErrFenced where the dead does not hold the session any more.
func (s *Store) BlameIfHeld(ctx context.Context, dead session.ConnectorID, id session.ID, judge func(last Report, before int) Report) (Report, error) {
	last := Report{Term: Term{ID: id}}
	err := s.inTx(ctx, "blame a session", func(tx *sql.Tx) error {
		var before int
		err := tx.QueryRowContext(ctx, lastTerm, id, dead, milliseconds(FaultMemory)).Scan(&last.Epoch, &before)
		if err == sql.ErrNoRows {
			return session.ErrFenced
		}
		if err != nil {
			return err
		}
		last = judge(last, before)
		_, err = tx.ExecContext(ctx, blameIfHeld, append([]any{dead}, columnsOf([]Report{last})...)...)
		return err
	})
	return last, err
}
