package store

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"time"

	"github.com/lib/pq"
	"github.com/wafleet/wafleet/shared/session"
)

// Term names one holding of one session.
type Term struct {
	ID    session.ID
	Epoch session.Epoch
}

// Report is the newest state of a session, as its holder sees it.
type Report struct {
	Term
	State   session.Status
	Seen    session.Generation // the request that State answers
	Code    session.ReasonCode // empty: no reason
	Message string
	RetryIn time.Duration // when wafleet tries again by itself; 0 says nothing
	// PushName is the account's display name; empty leaves the stored one.
	PushName string
	// HeardAt is WhatsApp's last sign of life and Reconnects what was lost, both
	// by the clock of this process; zero leaves the stored ones. They are written
	// as ages.
	HeardAt    time.Time
	Reconnects session.LastHour
	// Faults is how many terms in a row a bug has ended; zero leaves the stored
	// number, NoFaults forgets it.
	Faults int
}

// NoFaults says that a term has ended as it should.
const NoFaults = -1

// reportRows turns reports into rows; u is a table of them.
const reportRows = `unnest($2::uuid[], $3::bigint[], $4::text[], $5::bigint[], $6::text[], $7::text[], $8::bigint[], $9::text[],
    $10::bigint[], $11::text[], $12::bigint[], $13::int[])
    AS u(session_id, epoch, state, seen, code, message, retry_ms, push_name, heard_ms, reconnects, reconnects_ms, faults)`

const reportColumns = `state = u.state, seen_generation = GREATEST(r.seen_generation, u.seen), state_at = now(),
        push_name = COALESCE(NULLIF(u.push_name, ''), r.push_name),
        reason_code = NULLIF(u.code, ''), reason_message = NULLIF(u.message, ''),
        reason_at = CASE WHEN u.code = '' THEN NULL WHEN r.reason_code = u.code AND r.state = u.state THEN r.reason_at ELSE now() END,
        retry_at = CASE WHEN u.retry_ms > 0 THEN now() + u.retry_ms * interval '1 millisecond' END,
        heard_at = CASE WHEN u.heard_ms >= 0 THEN now() - u.heard_ms * interval '1 millisecond' ELSE r.heard_at END,
        reconnects = CASE WHEN u.reconnects_ms >= 0 THEN u.reconnects::int[] ELSE r.reconnects END,
        reconnects_at = CASE WHEN u.reconnects_ms >= 0 THEN now() - u.reconnects_ms * interval '1 millisecond' ELSE r.reconnects_at END,
        faults = CASE WHEN u.faults <> 0 THEN GREATEST(0, u.faults) ELSE r.faults END, fault_at = CASE WHEN u.faults > 0 THEN now() ELSE r.fault_at END`

// setStateIfEpoch also removes jobs that the holder answered by itself: a
// session restarted while it was held needs no claim.
const setStateIfEpoch = `
WITH u AS (SELECT * FROM ` + reportRows + `), written AS (
    UPDATE session_run r SET ` + reportColumns + `
    FROM u WHERE r.session_id = u.session_id AND r.epoch = u.epoch AND r.holder = $1
    RETURNING r.session_id, r.seen_generation
), answered AS (
    DELETE FROM start_job j USING written w, session s
    WHERE j.session_id = w.session_id AND s.id = w.session_id AND s.generation <= w.seen_generation
)
SELECT session_id FROM written`

// SetStateIfEpoch writes reports of sessions that the caller holds, any number
// in one statement, at most one per session. It returns the sessions whose
// epoch had moved on: those terms are over.
func (s *Store) SetStateIfEpoch(ctx context.Context, me session.ConnectorID, reports []Report) (fenced []session.ID, err error) {
	return s.writeReports(ctx, "report states", setStateIfEpoch, me, reports)
}

// goesOn tells, of a session s and its last report r, whether somebody should
// claim it. What the user wants is read again here: a session that was stopped
// meanwhile is left alone, as is one that gave up, unless it may be tried again
// later or the user has asked anew. A deleted one is claimed until it is erased.
const goesOn = wanted + ` AND (s.deleted_at IS NOT NULL OR r.state <> 'FAILED' OR r.seen_generation < s.generation OR r.retry_at IS NOT NULL)`

// releaseIfEpoch gives sessions back, and a job in the same transaction to those
// that go on.
//
// The hints are joined in a way that bears on the result: the planner drops an
// outer join to one row that nothing reads, and with it the hints.
const releaseIfEpoch = `
WITH u AS (SELECT * FROM ` + reportRows + `), written AS (
    UPDATE session_run r SET holder = NULL, ` + reportColumns + `
    FROM u WHERE r.session_id = u.session_id AND r.epoch = u.epoch AND r.holder = $1
    RETURNING r.session_id, r.state, r.seen_generation, r.retry_at, r.jid, r.linked_generation
), cleared AS (
    UPDATE pairing q SET codes = NULL, started_at = NULL, code = NULL, code_problem = NULL
    FROM u WHERE q.session_id = u.session_id AND q.epoch = u.epoch AND (q.codes IS NOT NULL OR q.code IS NOT NULL)
), queued AS (
    INSERT INTO start_job (session_id, available_at)
    SELECT s.id, GREATEST(now(), r.retry_at) FROM written r JOIN session s ON s.id = r.session_id
    WHERE ` + goesOn + `
    ON CONFLICT (session_id) DO NOTHING
    RETURNING session_id
), hinted AS (SELECT pg_notify('` + HintChannel + `', session_id::text) FROM queued)
SELECT w.session_id FROM written w CROSS JOIN (SELECT count(*) FROM hinted) h`

// ReleaseIfEpoch ends terms: the holder is removed with the last report, and
// whoever may continue finds a job. It returns the sessions whose epoch had
// moved on, which need no release.
func (s *Store) ReleaseIfEpoch(ctx context.Context, me session.ConnectorID, reports []Report) (fenced []session.ID, err error) {
	return s.writeReports(ctx, "release sessions", releaseIfEpoch, me, reports)
}

func (s *Store) writeReports(ctx context.Context, what, query string, me session.ConnectorID, reports []Report) ([]session.ID, error) {
	n := len(reports)
	if n == 0 {
		return nil, nil
	}
	written, err := collect(ctx, s.often, what, scanID, query, append([]any{me}, columnsOf(reports)...)...)
	if err != nil {
		return nil, err
	}
	return missing(reports, written), nil
}

// columnsOf is the arrays of reportRows.
func columnsOf(reports []Report) []any {
	n := len(reports)
	var (
		ids, states, codes, messages = make([]string, n), make([]string, n), make([]string, n), make([]string, n)
		pushes, reconnects           = make([]string, n), make([]string, n)
		epochs, seen, retries        = make([]int64, n), make([]int64, n), make([]int64, n)
		heard, since, faults         = make([]int64, n), make([]int64, n), make([]int64, n)
	)
	for i, r := range reports {
		ids[i], epochs[i], states[i], seen[i] = string(r.ID), int64(r.Epoch), string(r.State), int64(r.Seen)
		codes[i], messages[i], retries[i], pushes[i] = string(r.Code), r.Message, milliseconds(r.RetryIn), r.PushName
		heard[i], faults[i] = age(r.HeardAt), int64(r.Faults)
		counts, newest := r.Reconnects.Steps()
		since[i] = age(newest)
		if counts != nil {
			reconnects[i] = arrayText(pq.Int64Array(counts))
		}
	}
	return []any{pq.Array(ids), pq.Array(epochs), pq.Array(states), pq.Array(seen), pq.Array(codes), pq.Array(messages), pq.Array(retries), pq.Array(pushes),
		pq.Array(heard), pq.Array(reconnects), pq.Array(since), pq.Array(faults)}
}

// age is how many milliseconds ago a moment was, or -1 for none.
func age(at time.Time) int64 {
	if at.IsZero() {
		return -1
	}
	return max(0, milliseconds(time.Since(at)))
}

// arrayText is an array in Postgres's notation: rows of arrays cannot be sent as
// arrays.
func arrayText(array driver.Valuer) string {
	text, err := array.Value()
	if err != nil {
		panic(err) // those of pq have no error to return
	}
	return text.(string)
}

// missing returns the reported sessions that were not written.
func missing(reports []Report, written []session.ID) []session.ID {
	if len(written) == len(reports) {
		return nil
	}
	ok := setOf(written)
	var fenced []session.ID
	for _, r := range reports {
		if !ok[r.ID] {
			fenced = append(fenced, r.ID)
		}
	}
	return fenced
}

func setOf(ids []session.ID) map[session.ID]bool {
	set := make(map[session.ID]bool, len(ids))
	for _, id := range ids {
		set[id] = true
	}
	return set
}

const setDeviceIfEpoch = `
WITH cleared AS (
    UPDATE pairing SET codes = NULL, started_at = NULL, code = NULL, code_problem = NULL
    WHERE session_id = $1 AND epoch = $2 AND (codes IS NOT NULL OR code IS NOT NULL)
)
UPDATE session_run SET jid = NULLIF($4, ''), linked_generation = GREATEST(linked_generation, $5),
    push_name = CASE WHEN $4 = '' THEN NULL ELSE push_name END
WHERE session_id = $1 AND epoch = $2 AND holder = $3`

// SetDeviceIfEpoch records the device that was linked, or with an empty jid
// that there is none any more, and removes the codes that linked it. seen is the
// last request that the holder knows of: one to unlink the device comes later
// than the one at which it was linked. Errors:
// session.ErrFenced, and session.ErrDeviceTaken where another session has that
// device.
func (s *Store) SetDeviceIfEpoch(ctx context.Context, me session.ConnectorID, term Term, jid string, seen session.Generation) error {
	err := s.oneRow(ctx, "record the device", session.ErrFenced, setDeviceIfEpoch, term.ID, term.Epoch, me, jid, seen)
	if sqlState(err) == uniqueViolation {
		return session.ErrDeviceTaken
	}
	return err
}

// eraseIfEpoch locks the run's row, whose epoch is the fence.
const eraseIfEpoch = `
WITH mine AS (
    SELECT session_id FROM session_run WHERE session_id = $1 AND epoch = $2 AND holder = $3 FOR UPDATE
)
DELETE FROM session s USING mine WHERE s.id = mine.session_id AND s.deleted_at IS NOT NULL`

// EraseIfEpoch removes every row of a deleted session, whose device its holder
// has erased, and with it the term. Errors: session.ErrFenced.
func (s *Store) EraseIfEpoch(ctx context.Context, me session.ConnectorID, term Term) error {
	return s.oneRow(ctx, "erase the session", session.ErrFenced, eraseIfEpoch, term.ID, term.Epoch, me)
}

const epochHeld = `SELECT epoch = $2 AND holder = $3 FROM session_run WHERE session_id = $1`

// StillHeld reads the epoch again and reports whether the term goes on.
func (s *Store) StillHeld(ctx context.Context, me session.ConnectorID, term Term) (bool, error) {
	var held sql.NullBool
	err := s.db.QueryRowContext(ctx, epochHeld, term.ID, term.Epoch, me).Scan(&held)
	return held.Bool, domain("read the epoch", err)
}

const termsHeld = `SELECT session_id, epoch FROM session_run WHERE holder = $1`

// TermsHeld returns every term that the database gave to a connector. One that
// the connector does not know came with a claim whose answer was lost.
func (s *Store) TermsHeld(ctx context.Context, me session.ConnectorID) ([]Term, error) {
	return collect(ctx, s.often, "look for held sessions", func(rows *sql.Rows) (Term, error) {
		var t Term
		return t, rows.Scan(&t.ID, &t.Epoch)
	}, termsHeld, me)
}
