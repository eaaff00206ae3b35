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

func TestClaimTakesTheJobAndRaisesTheEpoch(t *testing.T) {
	t.Parallel()
	f := newFleet(t)
	f.start("a")
	me := f.connector("c")
	claims := f.claim(me, 10)
	if len(claims) != 1 || claims[0].Name != "a" || claims[0].Epoch != 1 || claims[0].Tenant != f.tenant {
		t.Fatalf("claims %+v", claims)
	}
	if again := f.claim(me, 10); len(again) != 0 {
		t.Fatalf("claimed twice: %+v", again)
	}
	found := must[session.Session](f)(f.Session(t.Context(), f.tenant, "a"))
	if found.Run.Holder != me || !found.Run.HeldAt(found.ReadAt) {
		t.Fatalf("run %+v", found.Run)
	}
}

func TestConcurrentClaimsGiveEverySessionOneHolder(t *testing.T) {
	t.Parallel()
	f := newFleet(t)
	const sessions, connectors = 60, 4
	for i := range sessions {
		f.start(session.Name(fmt.Sprint("s", i)))
	}
	var mu sync.Mutex
	holders := map[session.ID]session.ConnectorID{}
	var wg sync.WaitGroup
	for i := range connectors {
		me := f.connector(fmt.Sprint("c", i))
		wg.Go(func() {
			for range 40 {
				claims, err := f.ClaimIfFree(t.Context(), me, 5, 0, 5)
				if err != nil {
					t.Error(err)
					return
				}
				mu.Lock()
				for _, c := range claims {
					if other, taken := holders[c.ID]; taken {
						t.Errorf("%s is held by %s and %s", c.Name, other, me)
					}
					holders[c.ID] = me
				}
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	if len(holders) != sessions {
		t.Fatalf("%d of %d sessions are held", len(holders), sessions)
	}
	if jobs := f.count(`SELECT count(*) FROM start_job`); jobs != 0 {
		t.Fatalf("%d jobs are left", jobs)
	}
}

func TestFairShareLeavesRoomForOthersUnlessJobsWait(t *testing.T) {
	t.Parallel()
	f := newFleet(t)
	for i := range 20 {
		f.start(session.Name(fmt.Sprint("s", i)))
	}
	one := f.connector("one")
	f.connector("two")
	if n := len(f.claim(one, 100)); n != 11 { // ceil(20 / 2 * 1.1)
		t.Fatalf("claimed %d, want the fair share of 11", n)
	}
	for _, c := range []struct {
		age  string
		want int
	}{
		{"1 second", 0},
		{"3 seconds", 5}, // half of 9
		{"3 seconds", 2}, // half of the rest
		{"6 seconds", 2}, // two does not look
	} {
		f.sql(`UPDATE start_job SET available_at = now() - $1::interval`, c.age)
		if n := len(must[[]store.Claim](f)(f.ClaimIfFree(t.Context(), one, 100, 20, 100))); n != c.want {
			t.Errorf("claimed %d of those that waited for %s, want %d", n, c.age, c.want)
		}
	}
}

func TestOnlyALiveConnectorClaims(t *testing.T) {
	t.Parallel()
	f := newFleet(t)
	f.start("a")
	dead, draining := f.connector("dead"), f.connector("draining")
	f.sql(`UPDATE connector SET lease_until = now() WHERE id = $1`, string(dead))
	if err := f.SetDraining(t.Context(), draining); err != nil {
		t.Fatal(err)
	}
	for _, id := range []session.ConnectorID{dead, draining, "unknown"} {
		if claims := f.claim(id, 10); len(claims) != 0 {
			t.Fatalf("%s claimed %+v", id, claims)
		}
	}
}

func TestALeaseThatPassedIsNeverRenewed(t *testing.T) {
	t.Parallel()
	f := newFleet(t)
	me := f.connector("c")
	if err := f.RenewHeld(t.Context(), me, ttl, store.Vitals{}); err != nil {
		t.Fatal(err)
	}
	if err := f.EndLease(t.Context(), me); err != nil {
		t.Fatal(err)
	}
	if err := f.RenewHeld(t.Context(), me, ttl, store.Vitals{}); !errors.Is(err, session.ErrLeaseLost) {
		t.Fatalf("error %v, want ErrLeaseLost", err)
	}
}

func TestSessionsOfADeadConnectorMoveAndItsWritesAreFenced(t *testing.T) {
	t.Parallel()
	f := newFleet(t)
	f.start("a")
	old, next := f.connector("old"), f.connector("next")
	first := f.claim(old, 1)[0]
	if err := f.PutQRIfEpoch(t.Context(), termOf(first), session.QRCodes{Codes: []string{"2@code"}, First: time.Minute, Next: time.Minute}); err != nil {
		t.Fatal(err)
	}
	const codes = `SELECT count(*) FROM pairing WHERE codes IS NOT NULL`
	if n := f.orphans(); n != 0 || f.count(codes) != 1 {
		t.Fatalf("%d orphans while the holder lives, %d with codes", n, f.count(codes))
	}
	if err := f.EndLease(t.Context(), old); err != nil {
		t.Fatal(err)
	}
	f.wantUnnoticed(true)
	if n := f.orphans(); n != 1 || f.count(codes) != 0 {
		t.Fatalf("%d orphans, want 1; %d with codes of the dead, want none", n, f.count(codes))
	}
	f.wantUnnoticed(false)
	second := f.claim(next, 1)[0]
	if second.Epoch != first.Epoch+1 {
		t.Fatalf("epoch %d after %d", second.Epoch, first.Epoch)
	}
	f.wantFenced(old, first)
	if fenced := must[[]session.ID](f)(f.SetStateIfEpoch(t.Context(), next, []store.Report{report(second, session.Working)})); len(fenced) != 0 {
		t.Fatalf("the holder is fenced: %v", fenced)
	}
	f.wantStatus("a", session.Working, "")
	if held := must[bool](f)(f.StillHeld(t.Context(), old, termOf(first))); held {
		t.Fatal("the old term still holds")
	}
}

// A holder that dies between the stop and the release leaves nothing behind.
func TestAnUnwantedSessionOfADeadConnectorIsEnded(t *testing.T) {
	t.Parallel()
	f := newFleet(t)
	f.start("a")
	old := f.connector("old")
	first := f.claim(old, 1)[0]
	if err := f.PutQRIfEpoch(t.Context(), termOf(first), session.QRCodes{Codes: []string{"2@code"}, First: time.Minute, Next: time.Minute}); err != nil {
		t.Fatal(err)
	}
	if _, err := f.Stop(t.Context(), f.actor(), "a"); err != nil {
		t.Fatal(err)
	}
	left := `SELECT count(*) FROM session_run r JOIN pairing p USING (session_id) WHERE r.holder IS NOT NULL OR p.codes IS NOT NULL`
	f.orphans()
	if f.count(left) != 1 {
		t.Fatal("ended while the holder lives")
	}
	f.wantUnnoticed(false)
	if err := f.EndLease(t.Context(), old); err != nil {
		t.Fatal(err)
	}
	f.wantUnnoticed(true)
	found := must[store.Orphans](f)(f.EnqueueOrphans(t.Context()))
	if found.Jobs != 0 || f.count(left) != 0 {
		t.Fatalf("%d jobs, want none; %d terms or codes left, want none", found.Jobs, f.count(left))
	}
	if len(found.Ended) != 1 || found.Ended[0].ID != first.ID || found.Ended[0].Epoch != first.Epoch+1 || found.Ended[0].From != old {
		t.Errorf("ended %+v", found.Ended)
	}
	f.wantUnnoticed(false)
	f.wantFenced(old, first)
	f.wantStatus("a", session.Stopped, "")
	f.start("a")
	if next := f.claim(f.connector("next"), 1)[0]; next.Epoch <= first.Epoch+1 {
		t.Errorf("epoch %d after %d and the end of its term", next.Epoch, first.Epoch)
	}
}

func (f *fleet) wantUnnoticed(want bool) {
	f.Helper()
	if got := must[store.Look](f)(f.LookAround(f.Context(), "c")).Deaths; got != want {
		f.Fatalf("a death is unnoticed: %v, want %v", got, want)
	}
}

// wantFenced tries every write of a holder with a term that is over.
func (f *fleet) wantFenced(me session.ConnectorID, c store.Claim) {
	f.Helper()
	ctx := f.Context()
	for name, write := range map[string]func() ([]session.ID, error){
		"report": func() ([]session.ID, error) {
			return f.SetStateIfEpoch(ctx, me, []store.Report{report(c, session.Failed)})
		},
		"release": func() ([]session.ID, error) {
			return f.ReleaseIfEpoch(ctx, me, []store.Report{report(c, session.Failed)})
		},
	} {
		if fenced := must[[]session.ID](f)(write()); !slices.Equal(fenced, []session.ID{c.ID}) {
			f.Errorf("%s of an old term: fenced %v", name, fenced)
		}
	}
	for name, err := range map[string]error{
		"device": f.SetDeviceIfEpoch(ctx, me, termOf(c), "1:1@s.whatsapp.net", 1),
		"codes":  f.PutQRIfEpoch(ctx, termOf(c), session.QRCodes{Codes: []string{"old"}, First: time.Minute}),
		"clear":  f.ClearPairingIfEpoch(ctx, termOf(c)),
		"answer": f.AnswerCodeIfEpoch(ctx, termOf(c), "0190f5fe-7c00-7a00-8000-000000000000", "OLD", "", time.Minute),
	} {
		if !errors.Is(err, session.ErrFenced) {
			f.Errorf("%s of an old term: %v, want ErrFenced", name, err)
		}
	}
}

func TestReleaseIsNotStop(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name   string
		state  session.Status
		change func(*fleet)
		retry  time.Duration
		jobs   int
		status session.Status
	}{
		{"still wanted", session.Starting, func(*fleet) {}, 0, 1, session.Starting},
		{"stopped meanwhile", session.Stopped, func(f *fleet) { must[session.Session](f)(f.Stop(f.Context(), f.actor(), "a")) }, 0, 0, session.Stopped},
		{"stopped and started meanwhile", session.Stopped, func(f *fleet) {
			must[session.Session](f)(f.Stop(f.Context(), f.actor(), "a"))
			f.start("a")
		}, 0, 1, session.Starting},
		{"gave up", session.Failed, func(*fleet) {}, 0, 0, session.Failed},
		{"gave up until a time", session.Failed, func(*fleet) {}, time.Hour, 1, session.Failed},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			f := newFleet(t)
			f.start("a")
			me := f.connector("c")
			claim := f.claim(me, 1)[0]
			test.change(f)
			last := report(claim, test.state)
			last.RetryIn = test.retry
			if fenced := must[[]session.ID](f)(f.ReleaseIfEpoch(t.Context(), me, []store.Report{last})); len(fenced) != 0 {
				t.Fatalf("fenced %v", fenced)
			}
			if jobs := f.count(`SELECT count(*) FROM start_job`); jobs != test.jobs {
				t.Errorf("%d jobs, want %d", jobs, test.jobs)
			}
			f.wantStatus("a", test.status, "")
			if n := f.orphans(); n != 0 {
				t.Errorf("%d orphans after a release", n)
			}
		})
	}
}

func TestABanDelaysTheNextStart(t *testing.T) {
	t.Parallel()
	f := newFleet(t)
	f.start("a")
	me := f.connector("c")
	claim := f.claim(me, 1)[0]
	banned := report(claim, session.Failed)
	banned.Code, banned.Message, banned.RetryIn = session.TempBan, "banned", time.Hour
	must[[]session.ID](f)(f.ReleaseIfEpoch(t.Context(), me, []store.Report{banned}))
	f.wantStatus("a", session.Failed, session.TempBan)
	f.start("a")
	f.wantStatus("a", session.Starting, session.TempBan)
	if claims := f.claim(me, 1); len(claims) != 0 {
		t.Fatal("claimed during the ban")
	}
	f.sql(`UPDATE start_job SET available_at = now()`)
	if claims := f.claim(me, 1); len(claims) != 1 {
		t.Fatal("not claimed after the ban")
	}
}

func TestChangesAreSeenUntilAcknowledged(t *testing.T) {
	t.Parallel()
	f := newFleet(t)
	f.start("a")
	me := f.connector("c")
	claim := f.claim(me, 1)[0]
	changes := func() []store.Change { return must[[]store.Change](f)(f.ChangesHeld(t.Context(), me)) }
	if n := len(changes()); n != 0 {
		t.Fatalf("%d changes after the claim", n)
	}
	must[session.Session](f)(f.Stop(t.Context(), f.actor(), "a"))
	f.start("a")
	got := changes()
	if len(got) != 1 || got[0].Wanted.Generation != 3 || got[0].Wanted.Desired != session.DesiredRunning {
		t.Fatalf("changes %+v", got)
	}
	ack := report(claim, session.Starting)
	ack.Seen = 3
	must[[]session.ID](f)(f.SetStateIfEpoch(t.Context(), me, []store.Report{ack}))
	if n := len(changes()); n != 0 {
		t.Fatalf("%d changes after the acknowledgement", n)
	}
	if jobs := f.count(`SELECT count(*) FROM start_job`); jobs != 0 {
		t.Fatalf("%d jobs: the holder answered the start itself", jobs)
	}
}

func TestTwoSessionsCannotHoldOneDevice(t *testing.T) {
	t.Parallel()
	f := newFleet(t)
	f.start("a")
	f.start("b")
	me := f.connector("c")
	claims := f.claim(me, 2)
	if err := f.SetDeviceIfEpoch(t.Context(), me, termOf(claims[0]), "5511:1@s.whatsapp.net", 1); err != nil {
		t.Fatal(err)
	}
	if err := f.SetDeviceIfEpoch(t.Context(), me, termOf(claims[1]), "5511:1@s.whatsapp.net", 1); !errors.Is(err, session.ErrDeviceTaken) {
		t.Fatalf("error %v, want ErrDeviceTaken", err)
	}
}

// Whoever has no room leaves the rest to the others at once.
func TestTheFairShareIsOfThoseWithRoom(t *testing.T) {
	t.Parallel()
	f := newFleet(t)
	me, full, other := f.connector("me"), f.connector("full"), f.connector("other")
	for i := range 100 {
		f.start(session.Name(fmt.Sprint("s", i)))
	}
	f.sql(`UPDATE connector SET slots = 10 WHERE id = $1`, string(full))
	must[[]store.Claim](f)(f.ClaimIfFree(t.Context(), full, 10, 0, 10))
	f.beat(full, store.Vitals{Held: 10})
	if n := len(must[[]store.Claim](f)(f.ClaimIfFree(t.Context(), me, 100, 0, 100))); n != 50 { // 1.1 x 90 / 2
		t.Errorf("claimed %d, want 50", n)
	}
	if n := len(must[[]store.Claim](f)(f.ClaimIfFree(t.Context(), me, 50, 50, 50))); n != 0 {
		t.Errorf("claimed %d more, want none", n)
	}
	if n := len(must[[]store.Claim](f)(f.ClaimIfFree(t.Context(), other, 100, 0, 100))); n != 40 {
		t.Errorf("the other claimed %d, want 40", n)
	}
}

// A queue in front of one connector leaves jobs to the others, for a while.
func TestWhoCannotConnectSoonLeavesJobsToOthers(t *testing.T) {
	t.Parallel()
	f := newFleet(t)
	me := f.connector("me")
	for i := range 20 {
		f.start(session.Name(fmt.Sprint("s", i)))
	}
	claim := func(soon int) int {
		t.Helper()
		return len(must[[]store.Claim](f)(f.ClaimIfFree(t.Context(), me, 100, 0, soon)))
	}
	for soon, want := range map[int]int{-3: 0, 0: 0, 5: 5} {
		if n := claim(soon); n != want {
			t.Errorf("claimed %d, want %d", n, want)
		}
	}
	f.sql(`UPDATE start_job SET available_at = now() - interval '3 seconds'`)
	if n := claim(0); n != 15 {
		t.Errorf("claimed %d that nobody took, want 15", n)
	}
}

// TestALookAroundTellsWhatThereIsToDo: each of the three, for whom it concerns.
func TestALookAroundTellsWhatThereIsToDo(t *testing.T) {
	t.Parallel()
	f := newFleet(t)
	me, other := f.connector("me"), f.connector("other")
	want := func(who session.ConnectorID, look store.Look) {
		t.Helper()
		if got := must[store.Look](f)(f.LookAround(t.Context(), who)); got != look {
			t.Errorf("%s sees %+v, want %+v", who, got, look)
		}
	}
	want(me, store.Look{})
	f.start("a")
	want(me, store.Look{Jobs: true})
	want(other, store.Look{Jobs: true})
	held := f.claim(me, 1)[0]
	want(me, store.Look{})
	f.sql(`UPDATE session SET generation = generation + 1`)
	want(me, store.Look{Changes: true})
	want(other, store.Look{})
	f.sql(`UPDATE session_run SET seen_generation = seen_generation + 1`)
	want(me, store.Look{})
	f.sql(`INSERT INTO start_job (session_id, available_at) VALUES ($1, now() + interval '1 hour')`, string(held.ID))
	want(me, store.Look{}) // not due
	f.sql(`DELETE FROM start_job`)
	if err := f.EndLease(t.Context(), me); err != nil {
		t.Fatal(err)
	}
	want(other, store.Look{Deaths: true})
}
