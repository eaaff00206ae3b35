package store_test

import (
	"cmp"
	"slices"
	"testing"
	"time"

	"github.com/wafleet/wafleet/shared/session"
	"github.com/wafleet/wafleet/shared/store"
)

func (f *fleet) beat(me session.ConnectorID, v store.Vitals) {
	f.Helper()
	if err := f.RenewHeld(f.Context(), me, ttl, v); err != nil {
		f.Fatal(err)
	}
}

func (f *fleet) drain(id session.ConnectorID) {
	f.Helper()
	if err := f.SetDraining(f.Context(), id); err != nil {
		f.Fatal(err)
	}
}

func TestLoadsAreOfThoseWhoClaim(t *testing.T) {
	t.Parallel()
	f := newFleet(t)
	one, two, draining, dead := f.connector("one"), f.connector("two"), f.connector("draining"), f.connector("dead")
	f.beat(one, store.Vitals{Held: 7})
	f.beat(two, store.Vitals{Held: 3})
	f.drain(draining)
	if err := f.EndLease(t.Context(), dead); err != nil {
		t.Fatal(err)
	}
	f.sql(`UPDATE connector SET started_at = now() - interval '1 minute' WHERE id = $1`, string(two))
	got := must[[]store.Load](f)(f.Loads(t.Context()))
	slices.SortFunc(got, func(a, b store.Load) int { return cmp.Compare(b.Held, a.Held) })
	if len(got) != 3 || got[0].ID != one || got[0].Held != 7 || got[0].Slots != 100 || got[0].Draining || got[1].ID != two || got[1].Held != 3 ||
		got[2].ID != draining || !got[2].Draining {
		t.Fatalf("%+v", got)
	}
	if got[0].Age > 30*time.Second || got[1].Age < time.Minute {
		t.Errorf("ages %v and %v", got[0].Age, got[1].Age)
	}
}

// ago checks how long ago a moment was, to within a few seconds.
func (f *fleet) ago(what string, now, at time.Time, want time.Duration) {
	f.Helper()
	if got := now.Sub(at); got < want-time.Second || got > want+5*time.Second {
		f.Errorf("%s was %v ago, want %v", what, got, want)
	}
}

func TestTheLastSignOfLifeOutlivesItsHolder(t *testing.T) {
	t.Parallel()
	f := newFleet(t)
	f.start("a")
	me := f.connector("me")
	c := f.claim(me, 1)[0]
	read := func() session.Session { return must[session.Session](f)(f.Session(t.Context(), f.tenant, "a")) }
	write := func(state session.Status, heard time.Duration) {
		t.Helper()
		r := report(c, state)
		if heard > 0 {
			r.HeardAt = time.Now().Add(-heard)
		}
		if fenced := must[[]session.ID](f)(f.SetStateIfEpoch(t.Context(), me, []store.Report{r})); len(fenced) != 0 {
			t.Fatal("fenced")
		}
	}
	if s := read(); !s.Run.HeardAt.IsZero() {
		t.Errorf("heard at %v before anything was", s.Run.HeardAt)
	}
	write(session.Working, 10*time.Minute)
	s := read()
	f.ago("connected", s.ReadAt, s.Run.HeardAt, 10*time.Minute)

	f.beat(me, store.Vitals{Held: 1, HeardAt: time.Now().Add(-20 * time.Second)})
	s = read()
	f.ago("the heartbeat", s.ReadAt, s.Run.HeardAt, 20*time.Second)

	f.beat(me, store.Vitals{Held: 1}) // lost, and its report is under way
	s = read()
	f.ago("without a heartbeat", s.ReadAt, s.Run.HeardAt, 10*time.Minute)

	f.beat(me, store.Vitals{Held: 1, HeardAt: time.Now().Add(-20 * time.Second)})
	write(session.Starting, 40*time.Second)
	s = read()
	f.ago("while not working", s.ReadAt, s.Run.HeardAt, 40*time.Second)
	write(session.Starting, 0)
	s = read()
	f.ago("nothing new", s.ReadAt, s.Run.HeardAt, 40*time.Second)

	write(session.Working, 30*time.Minute)
	f.beat(me, store.Vitals{Held: 1, HeardAt: time.Now().Add(-20 * time.Second)})
	if err := f.EndLease(t.Context(), me); err != nil {
		t.Fatal(err)
	}
	f.orphans()
	next := f.connector("next")
	taken := f.claim(next, 1)
	if len(taken) != 1 || taken[0].From != me {
		t.Fatalf("taken %+v, want one from %s", taken, me)
	}
	s = read()
	f.ago("its dead holder", s.ReadAt, s.Run.HeardAt, 20*time.Second)
}

func TestReconnectsAreHandedOn(t *testing.T) {
	t.Parallel()
	f := newFleet(t)
	f.start("a")
	me := f.connector("me")
	c := f.claim(me, 1)[0]
	if c.From != "" || c.Reconnects != (session.LastHour{}) || c.Faults != 0 {
		t.Errorf("a fresh session comes with %+v", c)
	}
	now := time.Now()
	last := report(c, session.Starting)
	for _, ago := range []time.Duration{70 * time.Minute, 50 * time.Minute, 20 * time.Minute, 20 * time.Minute, time.Second} {
		last.Reconnects.Add(now.Add(-ago))
	}
	must[[]session.ID](f)(f.ReleaseIfEpoch(t.Context(), me, []store.Report{last}))
	s := must[session.Session](f)(f.Session(t.Context(), f.tenant, "a"))
	if n := s.Run.Reconnects.Count(s.ReadAt); n != 4 {
		t.Errorf("%d reconnects are read, want 4", n)
	}
	next := f.claim(me, 1)[0]
	if n := next.Reconnects.Count(time.Now()); n != 4 || next.From != "" {
		t.Errorf("%d reconnects are claimed, want 4; from %q", n, next.From)
	}
	if n := next.Reconnects.Count(time.Now().Add(30 * time.Minute)); n != 3 {
		t.Errorf("%d are left in half an hour, want 3", n)
	}
	// A report that knows of none leaves them.
	must[[]session.ID](f)(f.SetStateIfEpoch(t.Context(), me, []store.Report{report(next, session.Working)}))
	s = must[session.Session](f)(f.Session(t.Context(), f.tenant, "a"))
	if n := s.Run.Reconnects.Count(s.ReadAt); n != 4 {
		t.Errorf("%d reconnects are left, want 4", n)
	}
}

func TestFaultsAreForgottenInTime(t *testing.T) {
	t.Parallel()
	f := newFleet(t)
	f.start("a")
	me := f.connector("me")
	release := func(faults int) {
		last := report(f.claim(me, 1)[0], session.Starting)
		last.Faults = faults
		must[[]session.ID](f)(f.ReleaseIfEpoch(t.Context(), me, []store.Report{last}))
	}
	release(2)
	c := f.claim(me, 1)[0]
	if c.Faults != 2 {
		t.Fatalf("%d faults, want 2", c.Faults)
	}
	must[[]session.ID](f)(f.ReleaseIfEpoch(t.Context(), me, []store.Report{report(c, session.Starting)}))
	if c := f.claim(me, 1)[0]; c.Faults != 2 {
		t.Fatalf("a term that knows of no fault left %d, want 2", c.Faults)
	}
	f.sql(`UPDATE session_run SET fault_at = fault_at - interval '11 minutes', holder = NULL`)
	f.sql(`INSERT INTO start_job (session_id) SELECT id FROM session`)
	if c := f.claim(me, 1)[0]; c.Faults != 0 {
		t.Fatalf("%d faults are remembered after eleven minutes", c.Faults)
	}
}

func TestATermThatEndsAsItShouldForgetsFaults(t *testing.T) {
	t.Parallel()
	f := newFleet(t)
	f.start("a")
	me := f.connector("me")
	for _, faults := range []int{2, store.NoFaults} {
		last := report(f.claim(me, 1)[0], session.Starting)
		last.Faults = faults
		must[[]session.ID](f)(f.ReleaseIfEpoch(t.Context(), me, []store.Report{last}))
	}
	if c := f.claim(me, 1)[0]; c.Faults != 0 {
		t.Fatalf("%d faults are left", c.Faults)
	}
}
