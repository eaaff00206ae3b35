package store_test

import (
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/wafleet/wafleet/shared/session"
	"github.com/wafleet/wafleet/shared/store"
)

func (f *fleet) wantFleet(when string, want store.FleetStatus) {
	f.Helper()
	if got := must[store.FleetStatus](f)(f.FleetStatus(f.Context())); got != want {
		f.Errorf("%s: %+v, want %+v", when, got, want)
	}
}

func TestFleetStatusFollowsTheSessions(t *testing.T) {
	t.Parallel()
	f := newFleet(t)
	f.wantFleet("empty", store.FleetStatus{})
	me := f.connector("me")
	f.wantFleet("idle", store.FleetStatus{Alive: 1, Slots: 100, SlotsFree: 100})
	for _, name := range []session.Name{"a", "b", "c"} {
		f.start(name)
	}
	claims := f.claim(me, 3)
	f.start("waits")
	other := f.connector("other")
	f.sql(`UPDATE connector SET slots = 1 WHERE id = $1`, string(other))
	f.sql(`UPDATE start_job SET available_at = now() - interval '1 minute'`)
	got := must[store.FleetStatus](f)(f.FleetStatus(t.Context()))
	if got.OldestJob < time.Minute || got.OldestJob > 2*time.Minute {
		t.Errorf("the oldest job waits for %s", got.OldestJob)
	}
	got.OldestJob = 0
	if want := (store.FleetStatus{Running: 4, Wanted: 4, Held: 3, Unplaced: 1, Alive: 2, Slots: 101, SlotsFree: 98}); got != want {
		t.Errorf("one waits: %+v, want %+v", got, want)
	}

	// Another one takes it and leaves: its slots no longer count, what it holds does.
	if n := len(must[[]store.Claim](f)(f.ClaimIfFree(t.Context(), other, 1, 0, 1))); n != 1 {
		t.Fatalf("claimed %d", n)
	}
	if err := f.SetDraining(t.Context(), other); err != nil {
		t.Fatal(err)
	}
	f.wantFleet("one drains", store.FleetStatus{Running: 4, Wanted: 4, Held: 4, Alive: 2, Slots: 100, SlotsFree: 97})

	// Stopped, but not closed yet: it takes a slot and nobody wants it.
	must[session.Session](f)(f.Stop(t.Context(), f.actor(), claims[0].Name))
	f.wantFleet("one stops", store.FleetStatus{Running: 3, Wanted: 3, Held: 4, Alive: 2, Slots: 100, SlotsFree: 97})

	// Its sessions are unplaced before anybody has made a job of them.
	if err := f.EndLease(t.Context(), me); err != nil {
		t.Fatal(err)
	}
	f.wantFleet("one died", store.FleetStatus{Running: 3, Wanted: 3, Held: 1, Unplaced: 2, Alive: 1})
}

func TestFleetStatusLeavesOutWhoNeedsNoSlot(t *testing.T) {
	t.Parallel()
	f := newFleet(t)
	me := f.connector("me")
	idle := func(running, failed int) store.FleetStatus {
		return store.FleetStatus{Running: running, Failed: failed, Alive: 1, Slots: 100, SlotsFree: 100}
	}
	running := 0
	for name, retry := range map[session.Name]time.Duration{"gave-up": 0, "banned": time.Hour} {
		f.start(name)
		last := report(f.claim(me, 1)[0], session.Failed)
		last.RetryIn = retry
		if retry > 0 {
			last.Code, last.Message = session.TempBan, "banned"
		}
		must[[]session.ID](f)(f.ReleaseIfEpoch(t.Context(), me, []store.Report{last}))
		running++
		f.wantFleet(string(name), idle(running, running))
	}
	f.start("no-phone")
	unscanned := report(f.claim(me, 1)[0], session.Failed)
	unscanned.Code, unscanned.Message = session.QRExpired, "nobody scanned"
	must[[]session.ID](f)(f.ReleaseIfEpoch(t.Context(), me, []store.Report{unscanned}))
	f.wantFleet("nobody scanned, which is nobody's failure", idle(running+1, running))
	f.start("banned") // waits for the end of the ban all the same
	f.wantFleet("started while banned", idle(running+1, running))
	f.sql(`UPDATE start_job SET available_at = now() - interval '1 hour'`)
	got := must[store.FleetStatus](f)(f.FleetStatus(t.Context()))
	if got.Wanted != 1 || got.Unplaced != 1 || got.OldestJob < time.Hour {
		t.Errorf("after the ban: %+v", got)
	}
}

func TestEndLeaseOfTaskEndsThatTaskOnly(t *testing.T) {
	t.Parallel()
	f := newFleet(t)
	register := func(name, task string) session.ConnectorID {
		t.Helper()
		id := session.NewConnectorID(name)
		if err := f.Register(t.Context(), store.Connector{ID: id, Address: "127.0.0.1:1", Slots: 1, Version: "test", Task: task}, ttl); err != nil {
			t.Fatal(err)
		}
		return id
	}
	const one, two = "arn:aws:ecs:eu-west-1:1:task/fleet/one", "arn:aws:ecs:eu-west-1:1:task/fleet/two"
	former, now := register("a", one), register("a", one) // a process that lost a lease and took another
	alive, elsewhere := register("b", two), register("c", "")
	if err := f.EndLease(t.Context(), former); err != nil {
		t.Fatal(err)
	}
	end := func(task string) []session.ConnectorID {
		t.Helper()
		return must[[]session.ConnectorID](f)(f.EndLeaseOfTask(t.Context(), task))
	}
	if ended := end(one); !slices.Equal(ended, []session.ConnectorID{now}) {
		t.Errorf("ended %v, want %v", ended, now)
	}
	for _, task := range []string{one, "", "arn:unknown"} {
		if ended := end(task); len(ended) != 0 {
			t.Errorf("%q ended %v", task, ended)
		}
	}
	for id, want := range map[session.ConnectorID]error{former: session.ErrLeaseLost, now: session.ErrLeaseLost, alive: nil, elsewhere: nil} {
		if err := f.RenewHeld(t.Context(), id, ttl, store.Vitals{}); !errors.Is(err, want) {
			t.Errorf("renew %s: %v, want %v", id, err, want)
		}
	}
}

func TestManySweepsAtOnceMakeEveryJobOnce(t *testing.T) {
	t.Parallel()
	f := newFleet(t)
	const sessions, sweeps = 300, 8
	for i := range sessions {
		f.start(session.Name(fmt.Sprint("s", i)))
	}
	f.sql(`DELETE FROM start_job`)
	var mu sync.Mutex
	var wg sync.WaitGroup
	made := 0
	for range sweeps {
		wg.Go(func() {
			found, err := f.EnqueueOrphans(t.Context())
			n := found.Jobs
			if err != nil {
				t.Error(err)
			}
			mu.Lock()
			defer mu.Unlock()
			made += n
		})
	}
	wg.Wait()
	if made != sessions {
		t.Errorf("%d jobs were made for %d sessions", made, sessions)
	}
}

func TestTheShareOfRefusedVersionsIsOfAllThatShouldRun(t *testing.T) {
	t.Parallel()
	f := newFleet(t)
	me := f.connector("me")
	for i := range 8 {
		f.start(session.Name(fmt.Sprint("s", i)))
	}
	claims := f.claim(me, 8)
	outdated := func(c store.Claim, state session.Status) []store.Report {
		refused := report(c, state)
		refused.Code, refused.Message = session.ClientOutdated, "refused"
		return []store.Report{refused}
	}
	must[[]session.ID](f)(f.SetStateIfEpoch(t.Context(), me, outdated(claims[0], session.Starting)))
	must[[]session.ID](f)(f.ReleaseIfEpoch(t.Context(), me, outdated(claims[1], session.Failed)))
	must[[]session.ID](f)(f.SetStateIfEpoch(t.Context(), me, outdated(claims[2], session.Starting)))
	must[session.Session](f)(f.Stop(t.Context(), f.actor(), claims[2].Name)) // nobody wants it any more
	got := must[store.FleetStatus](f)(f.FleetStatus(t.Context()))
	if got.Running != 7 || got.Outdated != 2 || got.OutdatedShare() != 2.0/7 {
		t.Errorf("%+v, share %v", got, got.OutdatedShare())
	}
	if share := (store.FleetStatus{}).OutdatedShare(); share != 0 {
		t.Errorf("the share of an empty fleet is %v", share)
	}
}

// However many connectors ask, one of them counts.
func TestFleetStatusIfFirst(t *testing.T) {
	t.Parallel()
	f := newFleet(t)
	ids := []session.ConnectorID{f.connector("a"), f.connector("b"), f.connector("c")}
	slices.Sort(ids)
	asked := func() (counted []session.ConnectorID) {
		for _, id := range ids {
			switch got, err := f.FleetStatusIfFirst(t.Context(), id); {
			case err == nil && got.Alive > 0:
				counted = append(counted, id)
			case !errors.Is(err, session.ErrNotFound):
				t.Fatal(got, err)
			}
		}
		return counted
	}
	for len(ids) > 0 {
		if got := asked(); !slices.Equal(got, ids[:1]) {
			t.Fatalf("%v counted, want %v", got, ids[:1])
		}
		if len(ids)%2 == 0 {
			f.drain(ids[0])
		} else if err := f.EndLease(t.Context(), ids[0]); err != nil {
			t.Fatal(err)
		}
		ids = ids[1:]
	}
}

// What is to be unlinked or erased needs a connector too, or a fleet that was
// scaled to nothing would keep credentials for ever.
func TestFleetStatusCountsWhatIsToBeUnlinkedOrErased(t *testing.T) {
	t.Parallel()
	f := newFleet(t)
	me := f.connector("me")
	f.parked(me, "a")
	count := func(wanted, unplaced int) {
		t.Helper()
		got := must[store.FleetStatus](f)(f.FleetStatus(t.Context()))
		if got.Wanted != wanted || got.Unplaced != unplaced || got.Running != 0 {
			t.Errorf("%+v, want %d and %d", got, wanted, unplaced)
		}
	}
	count(0, 0)
	f.logout("a")
	count(1, 1)
	c := f.aged(me)
	count(1, 0)
	f.setDevice(me, c, "", c.Wanted.Generation)
	f.release(me, report(c, session.Stopped))
	count(0, 0)
	f.delete("a")
	count(1, 1)
	if err := f.EraseIfEpoch(t.Context(), me, termOf(f.aged(me))); err != nil {
		t.Fatal(err)
	}
	count(0, 0)
}
