package store

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"time"

	"github.com/lib/pq"
	"github.com/wafleet/wafleet/shared/session"
)

// Claim is a session that the caller now holds: (session, epoch, connector).
type Claim struct {
	ID       session.ID
	Tenant   session.TenantID
	Name     session.Name
	Epoch    session.Epoch
	Wanted   session.Wanted
	Config   session.Stored
	JID      string             // the linked device, empty while unpaired
	Linked   session.Generation // the request at which it was linked
	PushName string
	// From is who held the session last and did not give it back: a connector
	// that died. Empty otherwise.
	From       session.ConnectorID
	Reconnects session.LastHour // by the clock of this process
	Waited     time.Duration    // since the job could first be claimed
	Faults     int              // terms in a row that a bug ended; older ones do not count
}

// FaultMemory is how far apart two faults of a session have nothing to do with
// each other.
const FaultMemory = 10 * time.Minute

// claimJobs takes jobs of sessions that nobody alive holds.
//
// The claimer must itself be alive and not draining. The fair share is of what
// connectors without room do not hold, among those with room. Whoever cannot
// connect at once leaves the job to those who can. Neither must leave a job
// unclaimed while there are slots: of those that waited over two seconds every
// connector takes an even part at each look, whatever its share and its queue,
// and of those that waited over five seconds all, for the others may not look at
// all. Jobs of sessions that are no longer wanted are removed on the way.
const claimHead = `
WITH me AS (
    SELECT id FROM connector WHERE id = $1 AND lease_until > now() AND NOT draining
), others AS (
    SELECT count(*) FILTER (WHERE held < slots) AS open, COALESCE(sum(held) FILTER (WHERE held >= slots), 0) AS full_held
    FROM connector WHERE lease_until > now() AND NOT draining AND id <> $1
), waiting AS (
    SELECT count(*) AS some, count(*) FILTER (WHERE available_at < now() - interval '5 seconds') AS long
    FROM start_job WHERE available_at < now() - interval '2 seconds'
), quota AS (
    SELECT GREATEST(0, LEAST($2::bigint, GREATEST(
        waiting.long, ceil(waiting.some::numeric / (1 + others.open))::bigint,
        LEAST($5::bigint, (SELECT ceil((count(*) - others.full_held) * 1.1 / (1 + others.open)) FROM session WHERE desired = 'running')::bigint - $3::bigint)))) AS jobs
    FROM me, others, waiting WHERE EXISTS (SELECT FROM start_job WHERE available_at <= now())
), picked AS (
    SELECT j.session_id, j.available_at, r.holder, c.heard_at FROM start_job j
    JOIN session_run r ON r.session_id = j.session_id
    LEFT JOIN connector c ON c.id = r.holder
    WHERE j.available_at <= now() AND (r.holder IS NULL OR c.id IS NULL OR c.lease_until <= now())`

const claimTail = `
    ORDER BY j.available_at LIMIT COALESCE((SELECT jobs FROM quota), 0)
    FOR UPDATE OF j, r SKIP LOCKED
), dead AS (
    SELECT DISTINCT holder FROM picked WHERE holder IS NOT NULL
), ` + silencing + `, removed AS (
    DELETE FROM start_job j USING picked p WHERE j.session_id = p.session_id
), claimed AS (
    UPDATE session_run r SET holder = $1, epoch = r.epoch + 1, state = 'STARTING', seen_generation = s.generation,
        reason_code = NULL, reason_message = NULL, reason_at = NULL, retry_at = NULL, state_at = now(),
        heard_at = CASE WHEN r.state = 'WORKING' THEN GREATEST(r.heard_at, p.heard_at) ELSE r.heard_at END,
        faults = CASE WHEN r.fault_at > now() - $4 * interval '1 millisecond' THEN r.faults ELSE 0 END
    FROM picked p JOIN session s ON s.id = p.session_id CROSS JOIN (SELECT count(*) FROM silenced) first
    WHERE r.session_id = p.session_id AND ` + wanted + `
    RETURNING r.session_id, r.epoch, r.jid, r.linked_generation, r.push_name, p.holder, r.reconnects,
        extract(epoch FROM now() - r.reconnects_at) AS reconnects_age, r.faults,
        extract(epoch FROM now() - p.available_at) AS waited
), fenced AS (
    UPDATE pairing q SET epoch = k.epoch, codes = NULL, started_at = NULL, code = NULL, code_request = NULL, code_problem = NULL
    FROM claimed k WHERE q.session_id = k.session_id
)
SELECT s.id, s.tenant_id, s.name, k.epoch, ` + wantedColumns + `, k.jid, k.linked_generation, k.push_name,
    k.holder, k.reconnects, k.reconnects_age, k.faults, k.waited
FROM claimed k JOIN session s ON s.id = k.session_id`

const (
	claimJobs  = claimHead + claimTail
	claimNamed = claimHead + ` AND j.session_id = ANY ($6::uuid[])` + claimTail
)

// ClaimIfFree claims at most slots sessions for a connector that counts held
// against its fair share of the fleet and can connect soon of them soon; its part
// of what nobody took for a while it takes all the same. It is one statement
// however many.
func (s *Store) ClaimIfFree(ctx context.Context, me session.ConnectorID, slots, held, soon int) ([]Claim, error) {
	return collect(ctx, s.often, "claim start jobs", scanClaim, claimJobs, me, slots, held, milliseconds(FaultMemory), soon)
}

// ClaimNamedIfFree is ClaimIfFree for the jobs of certain sessions, by the same
// rules: who is told of a session by name gets no more than its fair share
// either, or whoever asks fastest would hold all and have to move half of it
// away again.
func (s *Store) ClaimNamedIfFree(ctx context.Context, me session.ConnectorID, ids []session.ID, slots, held, soon int) ([]Claim, error) {
	return collect(ctx, s.often, "claim named start jobs", scanClaim, claimNamed, me, slots, held, milliseconds(FaultMemory), soon, textArray(ids))
}

const unclaimedOf = `
SELECT j.session_id FROM start_job j
JOIN session_run r ON r.session_id = j.session_id
LEFT JOIN connector c ON c.id = r.holder
WHERE j.session_id = ANY ($1::uuid[]) AND j.available_at <= now() AND (r.holder IS NULL OR c.id IS NULL OR c.lease_until <= now())`

// UnclaimedOf returns those of the sessions that somebody could claim now.
func (s *Store) UnclaimedOf(ctx context.Context, ids []session.ID) ([]session.ID, error) {
	return collect(ctx, s.often, "look for named start jobs", scanID, unclaimedOf, textArray(ids))
}

func scanID(rows *sql.Rows) (id session.ID, err error) { return id, rows.Scan(&id) }

func textArray[T ~string](values []T) any {
	texts := make([]string, len(values))
	for i, value := range values {
		texts[i] = string(value)
	}
	return pq.Array(texts)
}

func scanClaim(rows *sql.Rows) (Claim, error) {
	var (
		c               Claim
		asked           wantedRow
		jid, push, from sql.NullString
		reconnects      pq.Int64Array
		age             sql.NullFloat64 // seconds
		waited          float64         // the same
	)
	dest := append([]any{&c.ID, &c.Tenant, &c.Name, &c.Epoch}, asked.dest()...)
	dest = append(dest, &jid, &c.Linked, &push, &from, &reconnects, &age, &c.Faults, &waited)
	err := rows.Scan(dest...)
	if err != nil {
		return c, err
	}
	c.Waited = time.Duration(waited * float64(time.Second))
	c.JID, c.PushName, c.From = jid.String, push.String, session.ConnectorID(from.String)
	if age.Valid {
		c.Reconnects = session.LastHourOf(reconnects, time.Now().Add(-time.Duration(age.Float64*float64(time.Second))))
	}
	c.Wanted, c.Config, err = asked.read(c.ID)
	return c, err
}

// wantedColumns is what the user wants of a session s, read by a wantedRow.
const wantedColumns = `s.desired, s.generation, s.unlink_generation, s.deleted_at IS NOT NULL, s.desired_at, s.config::text, s.secrets`

type wantedRow struct {
	wanted  session.Wanted
	config  string
	secrets []byte
}

func (r *wantedRow) dest() []any {
	w := &r.wanted
	return []any{&w.Desired, &w.Generation, &w.Unlink, &w.Deleted, &w.At, &r.config, &r.secrets}
}

func (r *wantedRow) read(id session.ID) (session.Wanted, session.Stored, error) {
	stored := session.Stored{Secrets: r.secrets}
	if err := json.Unmarshal([]byte(r.config), &stored.Config); err != nil {
		return r.wanted, stored, fmt.Errorf("stored config of session %s: %w", id, err)
	}
	return r.wanted, stored, nil
}

// enqueueOrphans also removes the codes that a dead holder showed: no phone can
// use them, and it may be long until somebody claims. The epoch protects those
// of a holder that came meanwhile.
//
// And it ends the terms of sessions that nobody wants and whose holder died
// before it could. That is a claim by nobody, so the epoch goes up. The dead are
// named by id: of a row that changed meanwhile only the row itself is looked at
// again.
const enqueueOrphans = `
WITH orphans AS (
    INSERT INTO start_job (session_id)
    SELECT s.id FROM session s
    JOIN session_run r ON r.session_id = s.id
    LEFT JOIN connector c ON c.id = r.holder
    WHERE ` + wanted + ` AND (r.holder IS NULL OR c.id IS NULL OR c.lease_until <= now())
      AND (s.deleted_at IS NOT NULL OR r.state <> 'FAILED' OR r.seen_generation < s.generation OR r.retry_at <= now())
      AND NOT EXISTS (SELECT FROM start_job j WHERE j.session_id = s.id)
    ON CONFLICT (session_id) DO NOTHING
    RETURNING session_id
), useless AS (
    UPDATE pairing q SET codes = NULL, started_at = NULL, code = NULL, code_problem = NULL
    FROM orphans o JOIN session_run r ON r.session_id = o.session_id
    WHERE q.session_id = o.session_id AND q.epoch = r.epoch AND (q.codes IS NOT NULL OR q.code IS NOT NULL)
), left_over AS (
    SELECT r.session_id, s.generation, r.holder FROM session_run r JOIN session s ON s.id = r.session_id
    WHERE s.desired = 'stopped' AND NOT ` + wanted + ` AND r.holder = ANY (ARRAY(SELECT id FROM connector WHERE lease_until <= now()))
    FOR UPDATE OF r SKIP LOCKED
), dead AS (
    SELECT DISTINCT holder FROM left_over
), ` + silencing + `, ended AS (
    UPDATE session_run r SET holder = NULL, epoch = r.epoch + 1, state = 'STOPPED', seen_generation = GREATEST(r.seen_generation, l.generation),
        reason_code = NULL, reason_message = NULL, reason_at = NULL, retry_at = NULL, state_at = now()
    FROM left_over l CROSS JOIN (SELECT count(*) FROM silenced) first WHERE r.session_id = l.session_id
    RETURNING r.session_id, r.epoch, l.holder
), cleared AS (
    UPDATE pairing q SET epoch = e.epoch, codes = NULL, started_at = NULL, code = NULL, code_request = NULL, code_problem = NULL
    FROM ended e WHERE q.session_id = e.session_id
), buried AS (
    DELETE FROM connector c WHERE c.lease_until < now() - interval '1 hour'
      AND NOT EXISTS (SELECT FROM session_run r WHERE r.holder = c.id)
)
SELECT session_id, 0, NULL, pg_notify('` + HintChannel + `', session_id::text)::text FROM orphans
UNION ALL SELECT session_id, epoch, holder, NULL FROM ended`

// Orphans is what was left without a holder.
type Orphans struct {
	Jobs  int // start jobs that were made
	Ended []EndedTerm
}

// EndedTerm is a term that a dead connector left of a session that nobody wants.
// Its epoch is the one that nobody holds.
type EndedTerm struct {
	Term
	From session.ConnectorID
}

// EnqueueOrphans gives every wanted session that nobody alive holds a start
// job, ends the terms that dead connectors left of unwanted ones, and forgets
// connectors that are long dead. Any number of processes may call it at once.
func (s *Store) EnqueueOrphans(ctx context.Context) (found Orphans, err error) {
	_, err = collect(ctx, s.often, "enqueue orphans", func(rows *sql.Rows) (none struct{}, err error) {
		var ended EndedTerm
		var from sql.NullString
		if err := rows.Scan(&ended.ID, &ended.Epoch, &from, new(any)); err != nil {
			return none, err
		}
		if from.Valid {
			ended.From = session.ConnectorID(from.String)
			found.Ended = append(found.Ended, ended)
		} else {
			found.Jobs++
		}
		return none, nil
	}, enqueueOrphans)
	return found, err
}

// Change is what the user asked of a held session since its holder last looked.
type Change struct {
	ID      session.ID
	Epoch   session.Epoch
	Wanted  session.Wanted
	Config  session.Stored
	Request *CodeRequest // a wish for a pairing code, nil without one
}

// CodeRequest asks the holder for a pairing code.
type CodeRequest struct {
	ID    string
	Phone session.Phone
}

const changesHeld = `SELECT s.id, r.epoch, ` + wantedColumns + `, q.id, q.phone` + fromChanges

const fromChanges = `
FROM session_run r
JOIN session s ON s.id = r.session_id
LEFT JOIN (
    SELECT q.session_id, q.id, q.phone FROM pairing_request q JOIN pairing p ON p.session_id = q.session_id
    WHERE q.expires_at > now() AND p.code_request IS DISTINCT FROM q.id
) q ON q.session_id = s.id
WHERE r.holder = $1 AND (s.generation > r.seen_generation OR q.id IS NOT NULL)`

// ChangesHeld returns what is new about the sessions that a connector holds.
// The same change is returned until a report acknowledges its generation, or
// until the request is answered.
func (s *Store) ChangesHeld(ctx context.Context, me session.ConnectorID) ([]Change, error) {
	return collect(ctx, s.often, "look for changes", scanChange, changesHeld, me)
}

func scanChange(rows *sql.Rows) (Change, error) {
	var (
		c              Change
		asked          wantedRow
		request, phone sql.NullString
	)
	err := rows.Scan(append(append([]any{&c.ID, &c.Epoch}, asked.dest()...), &request, &phone)...)
	if err != nil {
		return c, err
	}
	if request.Valid {
		c.Request = &CodeRequest{ID: request.String, Phone: session.Phone(phone.String)}
	}
	c.Wanted, c.Config, err = asked.read(c.ID)
	return c, err
}
