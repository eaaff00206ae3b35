package store_test

import (
	"slices"
	"testing"
	"time"

	"github.com/wafleet/wafleet/shared/session"
	"github.com/wafleet/wafleet/shared/store"
)

func (f *fleet) claimNamed(me session.ConnectorID, held int, names ...session.Name) (claimed, waiting []session.Name) {
	f.Helper()
	ids, nameOf := []session.ID{session.NewID()}, map[session.ID]session.Name{} // one is always unknown
	for _, name := range names {
		id := must[session.Session](f)(f.Session(f.Context(), f.tenant, name)).ID
		ids, nameOf[id] = append(ids, id), name
	}
	// A job that is not made old by a test is young, however slow the machine.
	f.sql(`UPDATE start_job SET available_at = GREATEST(available_at, now()) WHERE available_at > now() - interval '1 hour'`)
	for _, c := range must[[]store.Claim](f)(f.ClaimNamedIfFree(f.Context(), me, ids, 100, held, 100)) {
		claimed = append(claimed, c.Name)
		if c.Waited < 0 || c.Waited > 25*time.Hour {
			f.Errorf("%s waited %v", c.Name, c.Waited)
		}
	}
	for _, id := range must[[]session.ID](f)(f.UnclaimedOf(f.Context(), ids)) {
		waiting = append(waiting, nameOf[id])
	}
	slices.Sort(claimed)
	slices.Sort(waiting)
	return claimed, waiting
}

func (f *fleet) wantNamed(what string, claimed, waiting []session.Name, wantClaimed, wantWaiting []session.Name) {
	f.Helper()
	if !slices.Equal(claimed, wantClaimed) || !slices.Equal(waiting, wantWaiting) {
		f.Errorf("%s: claimed %v, still waiting %v; want %v and %v", what, claimed, waiting, wantClaimed, wantWaiting)
	}
}

type list = []session.Name

func TestOnlyWhatIsNamedIsClaimed(t *testing.T) {
	t.Parallel()
	f := newFleet(t)
	for _, name := range []session.Name{"a", "b", "c", "stopped"} {
		f.start(name)
	}
	if _, err := f.Stop(t.Context(), f.actor(), "stopped"); err != nil {
		t.Fatal(err)
	}
	me := f.connector("c")
	claimed, waiting := f.claimNamed(me, 0, "b", "c", "stopped")
	f.wantNamed("first", claimed, waiting, list{"b", "c"}, nil)
	claimed, waiting = f.claimNamed(f.connector("other"), 0, "b", "stopped")
	f.wantNamed("held", claimed, waiting, nil, nil)
	if _, err := f.Restart(t.Context(), f.actor(), "b", nil); err != nil { // makes a job that its holder answers
		t.Fatal(err)
	}
	claimed, waiting = f.claimNamed(f.connector("third"), 0, "b")
	f.wantNamed("restarted", claimed, waiting, nil, nil)
	f.wantCount("jobs", `SELECT count(*) FROM start_job`, 2) // of a and b
	if err := f.EndLease(t.Context(), me); err != nil {
		t.Fatal(err)
	}
	must[store.Orphans](f)(f.EnqueueOrphans(t.Context()))
	claimed, waiting = f.claimNamed(f.connector("next"), 0, "b", "c")
	f.wantNamed("of the dead", claimed, waiting, list{"b", "c"}, nil)
}

// The rules are those of every claim.
func TestNamesAreNoWayAroundTheRules(t *testing.T) {
	t.Parallel()
	f := newFleet(t)
	names := list{"a", "b", "c", "d"}
	for _, name := range names {
		f.start(name)
	}
	dead, draining := f.connector("dead"), f.connector("draining")
	f.sql(`UPDATE connector SET lease_until = now() WHERE id = $1`, string(dead))
	if err := f.SetDraining(t.Context(), draining); err != nil {
		t.Fatal(err)
	}
	for _, me := range []session.ConnectorID{dead, draining, "unknown"} {
		claimed, waiting := f.claimNamed(me, 0, names...)
		f.wantNamed(string(me), claimed, waiting, nil, names)
	}
	me := f.connector("one")
	f.connector("two")
	claimed, waiting := f.claimNamed(me, 2, names...) // 4 over two is 2.2, so one more
	if len(claimed) != 1 || len(waiting) != 3 {
		t.Errorf("claimed %v, still waiting %v; want the fair share", claimed, waiting)
	}
	claimed, rest := f.claimNamed(me, 3, waiting...)
	f.wantNamed("above the share", claimed, rest, nil, waiting)
	f.sql(`UPDATE start_job SET available_at = now() - interval '1 day'`)
	claimed, rest = f.claimNamed(me, 3, waiting...)
	f.wantNamed("it waited long", claimed, rest, waiting, nil)
	f.sql(`UPDATE session_run SET holder = NULL`)
	f.sql(`INSERT INTO start_job (session_id, available_at) SELECT id, now() + interval '1 hour' FROM session`)
	claimed, rest = f.claimNamed(me, 0, names...)
	f.wantNamed("not yet available", claimed, rest, nil, nil)
}
