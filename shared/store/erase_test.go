package store_test

import (
	"context"
	"database/sql"
	"errors"
	"testing"
	"time"

	"github.com/wafleet/wafleet/shared/session"
	"github.com/wafleet/wafleet/shared/store"
)

// The rows of a deleted session are gone, and those of others are not.
func TestErasingLeavesNoRow(t *testing.T) {
	t.Parallel()
	f := newFleet(t)
	me := f.connector("c")
	f.start("b")
	other := f.claim(me, 1)[0]
	c := f.linked(me, "a")
	if err := f.EraseIfEpoch(t.Context(), me, termOf(c)); !errors.Is(err, session.ErrFenced) {
		t.Fatalf("erased what is not deleted: %v", err)
	}
	f.delete("a")
	f.sql(`INSERT INTO pairing_request (session_id, id, phone, expires_at) VALUES ($1, gen_random_uuid(), '1', now())`, string(c.ID))
	for name, stale := range map[string]store.Term{"old": {ID: c.ID, Epoch: c.Epoch - 1}, "new": {ID: c.ID, Epoch: c.Epoch + 1}} {
		if err := f.EraseIfEpoch(t.Context(), me, stale); !errors.Is(err, session.ErrFenced) {
			t.Errorf("with an %s epoch: %v", name, err)
		}
	}
	if err := f.EraseIfEpoch(t.Context(), "somebody else", termOf(c)); !errors.Is(err, session.ErrFenced) {
		t.Errorf("by somebody else: %v", err)
	}
	holders := f.tablesWithSession()
	if len(holders) < 4 {
		t.Fatalf("tables %v", holders)
	}
	for _, table := range holders {
		f.wantCount("rows before in "+table, `SELECT count(*) FROM `+table+` WHERE session_id = '`+string(c.ID)+`'`, 1)
	}
	if err := f.EraseIfEpoch(t.Context(), me, termOf(c)); err != nil {
		t.Fatal(err)
	}
	for _, table := range holders {
		f.wantCount("rows in "+table, `SELECT count(*) FROM `+table+` WHERE session_id = '`+string(c.ID)+`'`, 0)
	}
	f.wantCount("sessions", `SELECT count(*) FROM session`, 1)
	if held := must[bool](f)(f.StillHeld(t.Context(), me, termOf(other))); !held {
		t.Error("the other session's term is over")
	}
	if err := f.EraseIfEpoch(t.Context(), me, termOf(c)); !errors.Is(err, session.ErrFenced) {
		t.Errorf("the second time: %v", err)
	}
}

// tablesWithSession is every table with rows of a session, but the audit, which
// outlives it.
func (f *fleet) tablesWithSession() (tables []string) {
	f.Helper()
	rows, err := f.DB().QueryContext(f.Context(), `SELECT table_name FROM information_schema.columns
		WHERE table_schema = 'public' AND column_name = 'session_id' AND table_name <> 'audit'`)
	if err != nil {
		f.Fatal(err)
	}
	defer rows.Close()
	for rows.Next() {
		var name string
		if err := rows.Scan(&name); err != nil {
			f.Fatal(err)
		}
		tables = append(tables, name)
	}
	if err := rows.Err(); err != nil {
		f.Fatal(err)
	}
	return tables
}

// What waited for the row's lock erases nothing once the epoch has moved on.
func TestAStaleEraseThatWaitedForTheLockIsRefused(t *testing.T) {
	t.Parallel()
	f := newFleet(t)
	me := f.connector("c")
	c := f.linked(me, "a")
	f.delete("a")
	tx := must[*sql.Tx](f)(f.DB().BeginTx(t.Context(), nil))
	defer tx.Rollback()
	if _, err := tx.Exec(`UPDATE session_run SET epoch = epoch + 1, holder = 'next'`); err != nil {
		t.Fatal(err)
	}
	erased := make(chan error, 1)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	go func() { erased <- f.EraseIfEpoch(ctx, me, termOf(c)) }()
	f.awaitLockWait()
	if err := tx.Commit(); err != nil {
		t.Fatal(err)
	}
	if err := <-erased; !errors.Is(err, session.ErrFenced) {
		t.Errorf("error %v, want ErrFenced", err)
	}
	f.wantCount("sessions", `SELECT count(*) FROM session`, 1)
}

// awaitLockWait returns when a statement waits for another's lock.
func (f *fleet) awaitLockWait() {
	f.Helper()
	for end := time.Now().Add(30 * time.Second); ; time.Sleep(5 * time.Millisecond) {
		if f.count(`SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'`) > 0 {
			return
		}
		if time.Now().After(end) {
			f.Fatal("nobody waits for a lock")
		}
	}
}

// A session that gave up is erased all the same, at once.
func TestADeletedSessionThatGaveUpIsClaimed(t *testing.T) {
	t.Parallel()
	for name, failed := range map[string]store.Report{
		"banned":      {Code: session.TempBan, RetryIn: time.Hour},
		"quarantined": {Code: session.Quarantined, Faults: 3},
		"logged out":  {Code: session.LoggedOut},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := newFleet(t)
			me := f.connector("c")
			c := f.linked(me, "a")
			failed.Term, failed.State, failed.Seen = termOf(c), session.Failed, c.Wanted.Generation
			f.release(me, failed)
			f.wantStatus("a", session.Failed, failed.Code)
			f.delete("a")
			f.wantJobs(1)
			c = f.aged(me)
			if !c.Wanted.Deleted || !mustUnlink(c) || c.Faults != failed.Faults {
				t.Fatalf("claimed as %+v", c)
			}
			// It fails once more, with nobody left to ask again.
			failed.Term, failed.Seen, failed.RetryIn = termOf(c), c.Wanted.Generation, 0
			f.release(me, failed)
			c = f.aged(me)
			if err := f.EraseIfEpoch(t.Context(), me, termOf(c)); err != nil {
				t.Fatal(err)
			}
			f.wantCount("sessions", `SELECT count(*) FROM session`, 0)
		})
	}
}
