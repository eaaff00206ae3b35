package store_test

import (
	"errors"
	"testing"

	"github.com/wafleet/wafleet/shared/session"
	"github.com/wafleet/wafleet/shared/store"
)

const aDevice = "5511999990001:3@s.whatsapp.net"

func (f *fleet) stop(name session.Name) {
	f.Helper()
	must[session.Session](f)(f.Stop(f.Context(), f.actor(), name))
}

func (f *fleet) logout(name session.Name) {
	f.Helper()
	must[session.Session](f)(f.Logout(f.Context(), f.actor(), name))
}

func (f *fleet) delete(name session.Name) {
	f.Helper()
	must[session.Session](f)(f.Delete(f.Context(), f.actor(), name))
}

// setDevice records what the holder of a claim has linked, or with an empty jid
// unlinked, when it knew of a request.
func (f *fleet) setDevice(me session.ConnectorID, c store.Claim, jid string, seen session.Generation) {
	f.Helper()
	if err := f.SetDeviceIfEpoch(f.Context(), me, termOf(c), jid, seen); err != nil {
		f.Fatal(err)
	}
}

func (f *fleet) release(me session.ConnectorID, r store.Report) {
	f.Helper()
	if fenced := must[[]session.ID](f)(f.ReleaseIfEpoch(f.Context(), me, []store.Report{r})); len(fenced) != 0 {
		f.Fatalf("fenced %v", fenced)
	}
}

// linked makes a session that works, with a device.
func (f *fleet) linked(me session.ConnectorID, name session.Name) store.Claim {
	f.Helper()
	f.start(name)
	c := f.claim(me, 1)[0]
	f.setDevice(me, c, aDevice, c.Wanted.Generation)
	return c
}

// parked makes a session that is stopped and linked, and that nobody holds.
func (f *fleet) parked(me session.ConnectorID, name session.Name) store.Claim {
	f.Helper()
	c := f.linked(me, name)
	f.stop(name)
	c.Wanted.Generation++
	f.release(me, report(c, session.Stopped))
	return c
}

func (f *fleet) wantCount(what string, query string, want int) {
	f.Helper()
	if n := f.count(query); n != want {
		f.Errorf("%s: %d, want %d", what, n, want)
	}
}

const jobs = `SELECT count(*) FROM start_job`

func (f *fleet) wantJobs(want int) { f.Helper(); f.wantCount("jobs", jobs, want) }

// mustUnlink is what a claim says about its device.
func mustUnlink(c store.Claim) bool { return session.MustUnlink(c.Wanted, c.JID, c.Linked) }

func TestALogoutIsAboutTheDeviceOfItsTime(t *testing.T) {
	t.Parallel()
	f := newFleet(t)
	me := f.connector("c")
	if _, err := f.Logout(t.Context(), f.actor(), "a"); !errors.Is(err, session.ErrNotFound) {
		t.Errorf("of an unknown session: %v", err)
	}
	f.start("a")
	if _, err := f.Logout(t.Context(), f.actor(), "a"); !errors.Is(err, session.ErrNotAuthenticated) {
		t.Errorf("without a device: %v", err)
	}
	c := f.claim(me, 1)[0]
	f.setDevice(me, c, aDevice, 1)
	f.logout("a") // 2
	if found := must[session.Session](f)(f.Session(t.Context(), f.tenant, "a")); found.Device() != "" || found.Run.JID != aDevice {
		t.Errorf("after the logout: %+v", found.Run)
	}
	if _, err := f.Logout(t.Context(), f.actor(), "a"); !errors.Is(err, session.ErrNotAuthenticated) {
		t.Errorf("the second logout: %v", err)
	}
	changes := must[[]store.Change](f)(f.ChangesHeld(t.Context(), me))
	if len(changes) != 1 || changes[0].Wanted.Unlink != 2 || changes[0].Wanted.Desired != session.DesiredRunning {
		t.Fatalf("changes %+v", changes)
	}
	f.setDevice(me, c, "", 2)
	f.setDevice(me, c, "5511999990001:4@s.whatsapp.net", 2) // the next device stays
	c.Wanted.Generation = 2
	f.release(me, report(c, session.Starting))
	if next := f.claim(me, 1)[0]; mustUnlink(next) || next.Linked != 2 || next.JID == "" {
		t.Errorf("the next device: %+v", next)
	}
	f.logout("a")
	if found := must[session.Session](f)(f.Session(t.Context(), f.tenant, "a")); found.Device() != "" {
		t.Errorf("the logout of the next device: %+v", found)
	}
}

// A device that was linked when the holder did not know of a request yet is
// what the request is about.
func TestADeviceLinkedBeforeTheHolderKnewOfTheLogout(t *testing.T) {
	t.Parallel()
	f := newFleet(t)
	me := f.connector("c")
	c := f.linked(me, "a")
	f.logout("a")
	f.setDevice(me, c, aDevice, 1) // written again, late
	f.release(me, report(c, session.Starting))
	if next := f.claim(me, 1)[0]; !mustUnlink(next) {
		t.Errorf("claimed as %+v", next)
	}
}

func TestALogoutThenAStartUnlinksAndRuns(t *testing.T) {
	t.Parallel()
	f := newFleet(t)
	me := f.connector("c")
	f.parked(me, "a")
	f.logout("a")
	f.wantStatus("a", session.Stopped, "")
	f.start("a")
	f.wantStatus("a", session.Starting, "")
	f.wantJobs(1)
	c := f.claim(me, 1)[0]
	if !mustUnlink(c) || c.Wanted.Desired != session.DesiredRunning {
		t.Fatalf("claimed as %+v", c)
	}
	f.setDevice(me, c, "", c.Wanted.Generation)
	f.release(me, report(c, session.Starting))
	if c := f.claim(me, 1)[0]; c.JID != "" {
		t.Errorf("goes on with %q", c.JID)
	}
}

// Rows from before there were logouts have no generation of their device.
func TestAnOldDeviceIsNotUnlinkedUnlessAsked(t *testing.T) {
	t.Parallel()
	f := newFleet(t)
	me := f.connector("c")
	f.parked(me, "a")
	f.sql(`UPDATE session_run SET linked_generation = 0`)
	if n := f.orphans(); n != 0 {
		t.Fatalf("%d orphans", n)
	}
	f.start("a")
	c := f.claim(me, 1)[0]
	if mustUnlink(c) || c.JID != aDevice {
		t.Fatalf("claimed as %+v", c)
	}
	f.logout("a")
	if got := must[[]store.Change](f)(f.ChangesHeld(t.Context(), me)); len(got) != 1 || !session.MustUnlink(got[0].Wanted, c.JID, c.Linked) {
		t.Errorf("changes %+v", got)
	}
}

func TestAStoppedSessionIsClaimedToBeUnlinkedAndNotAgain(t *testing.T) {
	t.Parallel()
	f := newFleet(t)
	me := f.connector("c")
	f.parked(me, "a")
	f.wantJobs(0)
	f.logout("a")
	f.wantJobs(1)
	f.wantStatus("a", session.Stopped, "")
	c := f.aged(me)
	if !mustUnlink(c) || c.Wanted.Desired != session.DesiredStopped {
		t.Fatalf("claimed as %+v", c)
	}
	f.wantStatus("a", session.Stopped, "")
	f.release(me, report(c, session.Starting)) // a drain
	f.wantJobs(1)
	c = f.aged(me)
	f.setDevice(me, c, "", c.Wanted.Generation)
	f.release(me, report(c, session.Stopped))
	f.wantJobs(0)
	if n := f.orphans(); n != 0 {
		t.Errorf("%d orphans", n)
	}
	f.wantStatus("a", session.Stopped, "")
}

// aged claims the one job as if it had waited: the share of a connector is of
// sessions that run.
func (f *fleet) aged(me session.ConnectorID) store.Claim {
	f.Helper()
	f.sql(`UPDATE start_job SET available_at = available_at - interval '3 seconds'`)
	claims := f.claim(me, 10)
	if len(claims) != 1 {
		f.Fatalf("claimed %+v", claims)
	}
	return claims[0]
}

// A holder that dies before it has unlinked or erased is an orphan's holder; one
// that dies after it has unlinked is not.
func TestWhatADeadConnectorDidNotLeaveUndone(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		ask      func(*fleet)
		unlinked bool
		orphans  int
	}{
		"logout of a stopped one":         {func(f *fleet) { f.stop("a"); f.logout("a") }, false, 1},
		"logout, and it was unlinked":     {func(f *fleet) { f.logout("a"); f.stop("a") }, true, 0},
		"delete":                          {func(f *fleet) { f.delete("a") }, false, 1},
		"delete, and it was unlinked":     {func(f *fleet) { f.delete("a") }, true, 1},
		"stop":                            {func(f *fleet) { f.stop("a") }, false, 0},
		"stop, and an unlink that is old": {func(f *fleet) { f.stop("a") }, true, 0},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := newFleet(t)
			dead, next := f.connector("dead"), f.connector("next")
			held := f.linked(dead, "a")
			c.ask(f)
			if c.unlinked {
				f.setDevice(dead, held, "", 9)
			}
			f.sql(`DELETE FROM start_job`) // as if it were lost
			if n := f.orphans(); n != 0 {
				t.Fatalf("%d orphans while the holder lives", n)
			}
			if err := f.EndLease(t.Context(), dead); err != nil {
				t.Fatal(err)
			}
			f.wantUnnoticed(true)
			if n := f.orphans(); n != c.orphans {
				t.Fatalf("%d orphans, want %d", n, c.orphans)
			}
			f.wantUnnoticed(false)
			if c.orphans == 0 {
				f.wantCount("held", `SELECT count(*) FROM session_run WHERE holder IS NOT NULL`, 0)
				return
			}
			if taken := f.aged(next); taken.Epoch <= held.Epoch || taken.From != dead {
				t.Errorf("taken over as %+v", taken)
			}
			f.wantFenced(dead, held)
			if err := f.EraseIfEpoch(t.Context(), dead, termOf(held)); !errors.Is(err, session.ErrFenced) {
				t.Errorf("the dead erases: %v", err)
			}
		})
	}
}

func TestADeletedSessionIsThereForNobody(t *testing.T) {
	t.Parallel()
	f := newFleet(t)
	me := f.connector("c")
	first := f.linked(me, "a")
	if _, err := f.RequestCode(t.Context(), f.actor(), "a", "5511999990001"); err != nil {
		t.Fatal(err)
	}
	f.delete("a")
	for _, name := range []session.Name{"a", session.Name("deleted-" + string(first.ID))} {
		for what, err := range map[string]error{
			"read":    second(f.Session(t.Context(), f.tenant, name)),
			"stop":    second(f.Stop(t.Context(), f.actor(), name)),
			"restart": second(f.Restart(t.Context(), f.actor(), name, nil)),
			"update":  second(f.Update(t.Context(), f.actor(), name, session.Stored{Config: session.DefaultConfig(session.Defaults{})})),
			"logout":  second(f.Logout(t.Context(), f.actor(), name)),
			"delete":  second(f.Delete(t.Context(), f.actor(), name)),
			"code":    second(f.RequestCode(t.Context(), f.actor(), name, "5511999990001")),
		} {
			if !errors.Is(err, session.ErrNotFound) {
				t.Errorf("%s of %s: %v", what, name, err)
			}
		}
		if _, _, err := f.Pairing(t.Context(), f.tenant, name); !errors.Is(err, session.ErrNotFound) {
			t.Errorf("codes of %s: %v", name, err)
		}
	}
	if list := must[[]session.Session](f)(f.Sessions(t.Context(), f.tenant, store.Filter{All: true, Limit: 10})); len(list) != 0 {
		t.Errorf("listed: %+v", list)
	}
	f.wantCount("requests for codes", `SELECT count(*) FROM pairing_request`, 0)

	again := f.start("a") // the name is free at once
	if again.ID == first.ID {
		t.Error("the session came back")
	}
	if claims := f.claim(me, 10); len(claims) != 1 || claims[0].ID != again.ID || claims[0].Epoch != 1 || claims[0].JID != "" {
		t.Errorf("claimed %+v", claims)
	}
	if err := f.EraseIfEpoch(t.Context(), me, termOf(first)); err != nil {
		t.Fatal(err)
	}
	f.wantCount("sessions", `SELECT count(*) FROM session`, 1)
	f.wantStatus("a", session.Starting, "")
}

func second[T any](_ T, err error) error { return err }
