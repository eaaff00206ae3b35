package store_test

import (
	"database/sql"
	"errors"
	"testing"
	"time"

	"github.com/wafleet/wafleet/shared/session"
	"github.com/wafleet/wafleet/shared/store"
)

// sentence is a judge that gives the same sentence to everybody, and tells what
// it was told.
func sentence(state session.Status, code session.ReasonCode, retry time.Duration, before *int) func(store.Report, int) store.Report {
	return func(last store.Report, faults int) store.Report {
		*before = faults
		last.State, last.Code, last.Message, last.RetryIn, last.Faults = state, code, "text", retry, faults+1
		return last
	}
}

// blame blames with a pause of a minute, or with quarantine.
func (f *fleet) blame(dead session.ConnectorID, id session.ID, quarantine bool) (before int, written store.Report, err error) {
	f.Helper()
	judge := sentence(session.Starting, session.InternalError, time.Minute, &before)
	if quarantine {
		judge = sentence(session.Failed, session.Quarantined, 0, &before)
	}
	written, err = f.BlameIfHeld(f.Context(), dead, id, judge)
	return before, written, err
}

func (f *fleet) end(id session.ConnectorID) {
	f.Helper()
	if err := f.EndLease(f.Context(), id); err != nil {
		f.Fatal(err)
	}
}

func TestABlamedSessionWaitsAndIsThenQuarantined(t *testing.T) {
	t.Parallel()
	f := newFleet(t)
	f.start("culprit")
	f.start("other")
	var culprit store.Claim
	for crash := range 3 {
		dead, next := f.connector("dead"), f.connector("next")
		claims := f.claim(dead, 10)
		if len(claims) != 2 {
			t.Fatalf("%d claims before crash %d", len(claims), crash)
		}
		other := claims[0]
		if culprit = claims[1]; culprit.Name != "culprit" {
			culprit, other = other, culprit
		}
		codes := session.QRCodes{Codes: []string{"2@code"}, First: time.Minute, Next: time.Minute}
		if err := f.PutQRIfEpoch(t.Context(), termOf(culprit), codes); err != nil {
			t.Fatal(err)
		}
		before, written, err := f.blame(dead, culprit.ID, crash == 2)
		if err != nil || before != crash || written.Term != termOf(culprit) {
			t.Fatalf("blame %d: %d faults before, %+v, %v", crash, before, written, err)
		}
		// What the dead sent last arrives now.
		if err := f.PutQRIfEpoch(t.Context(), termOf(culprit), codes); !errors.Is(err, session.ErrFenced) {
			t.Errorf("a late code of the dead: %v", err)
		}
		if fenced := must[[]session.ID](f)(f.SetStateIfEpoch(t.Context(), dead, []store.Report{report(culprit, session.Working)})); len(fenced) != 1 {
			t.Error("a late report of the dead was written")
		}
		if n := f.count(`SELECT count(*) FROM pairing WHERE codes IS NOT NULL OR code IS NOT NULL`); n != 0 {
			t.Errorf("codes of %d sessions are left", n)
		}
		f.end(dead)
		f.orphans()
		taken := f.claim(next, 10)
		if len(taken) != 1 || taken[0].ID != other.ID || taken[0].Faults != 0 {
			t.Fatalf("the next one took %+v", taken)
		}
		if crash == 2 {
			break
		}
		f.wantStatus("culprit", session.Starting, session.InternalError)
		if n := f.count(`SELECT count(*) FROM start_job j JOIN session_run r USING (session_id) WHERE j.available_at = r.retry_at AND r.retry_at > now() + interval '50 seconds'`); n != 1 {
			t.Errorf("%d jobs wait for the end of the pause", n)
		}
		f.sql(`UPDATE start_job SET available_at = now()`)
		f.end(next)
		f.orphans()
	}
	f.wantStatus("culprit", session.Failed, session.Quarantined)
	if n := f.count(`SELECT count(*) FROM start_job`); n != 0 {
		t.Errorf("%d jobs are left", n)
	}
	f.wantStatus("other", session.Starting, "")
	// The user asks again.
	f.start("culprit")
	if again := f.claim(f.connector("last"), 10); len(again) != 1 || again[0].Faults != 3 || again[0].Epoch <= culprit.Epoch+1 {
		t.Errorf("claimed again: %+v", again)
	}
}

func TestNobodyIsBlamedForAnothersDeath(t *testing.T) {
	t.Parallel()
	f := newFleet(t)
	f.start("a")
	me, dead := f.connector("me"), f.connector("dead")
	c := f.claim(me, 1)[0]
	for name, one := range map[string]struct {
		dead session.ConnectorID
		id   session.ID
	}{
		"held by another": {dead, c.ID},
		"unknown session": {me, session.NewID()},
		"unknown holder":  {"nobody", c.ID},
	} {
		if _, _, err := f.blame(one.dead, one.id, true); !errors.Is(err, session.ErrFenced) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if held := must[bool](f)(f.StillHeld(t.Context(), me, termOf(c))); !held {
		t.Error("the term has ended")
	}
	must[[]session.ID](f)(f.ReleaseIfEpoch(t.Context(), me, []store.Report{report(c, session.Starting)}))
	if _, _, err := f.blame(me, c.ID, true); !errors.Is(err, session.ErrFenced) {
		t.Errorf("released before: %v", err)
	}
}

// The lease has passed before the guard reached the database.
func TestALateBlameReplacesTheJobOfAnOrphan(t *testing.T) {
	t.Parallel()
	for name, quarantine := range map[string]bool{"pause": false, "quarantine": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := newFleet(t)
			f.start("a")
			dead, next := f.connector("dead"), f.connector("next")
			c := f.claim(dead, 1)[0]
			f.end(dead)
			if n := f.orphans(); n != 1 {
				t.Fatalf("%d orphans", n)
			}
			if _, _, err := f.blame(dead, c.ID, quarantine); err != nil {
				t.Fatal(err)
			}
			if taken := f.claim(next, 1); len(taken) != 0 {
				t.Errorf("claimed at once: %+v", taken)
			}
		})
	}
}

// A stop or a start that the dead has not seen counts more than its crash.
func TestABlamedSessionObeysItsUser(t *testing.T) {
	t.Parallel()
	f := newFleet(t)
	f.start("stopped")
	f.start("restarted")
	dead := f.connector("dead")
	claims := f.claim(dead, 2)
	for _, name := range []session.Name{"stopped", "restarted"} {
		must[session.Session](f)(f.Stop(t.Context(), f.actor(), name))
	}
	f.start("restarted")
	for _, c := range claims {
		if _, _, err := f.blame(dead, c.ID, true); err != nil {
			t.Fatal(err)
		}
	}
	f.wantStatus("stopped", session.Stopped, "")
	taken := f.claim(f.connector("next"), 2)
	if len(taken) != 1 || taken[0].Name != "restarted" {
		t.Errorf("claimed %+v, want the restarted one", taken)
	}
}

func TestABlameForgetsOldFaults(t *testing.T) {
	t.Parallel()
	f := newFleet(t)
	f.start("a")
	dead := f.connector("dead")
	c := f.claim(dead, 1)[0]
	f.sql(`UPDATE session_run SET faults = 2, fault_at = now() - interval '11 minutes'`)
	if before, _, err := f.blame(dead, c.ID, false); err != nil || before != 0 {
		t.Errorf("%d faults before, %v", before, err)
	}
}

// The next claim does not know who the holder was: what the dead has sent to the
// device store is kept out by the blame.
func TestABlameEndsTheConnectionsOfTheDead(t *testing.T) {
	t.Parallel()
	f := newFleet(t)
	f.start("a")
	dead, alive := f.connector("dead"), f.connector("alive")
	late := must[*sql.Tx](f)(f.owned(dead, nil).DB().BeginTx(t.Context(), nil))
	fine := must[*sql.Tx](f)(f.owned(alive, nil).DB().BeginTx(t.Context(), nil))
	c := f.claim(dead, 1)[0]
	if _, _, err := f.blame(dead, c.ID, false); err != nil {
		t.Fatal(err)
	}
	if _, err := late.ExecContext(t.Context(), `SELECT 1`); err == nil {
		t.Error("the dead can still write")
	}
	if _, err := fine.ExecContext(t.Context(), `SELECT 1`); err != nil {
		t.Errorf("the living cannot write any more: %v", err)
	}
	fine.Rollback()
}
