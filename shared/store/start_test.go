package store_test

import (
	"errors"
	"sync"
	"testing"

	"github.com/wafleet/wafleet/shared/session"
	"github.com/wafleet/wafleet/shared/store"
)

func TestStartCreatesASessionAndOneJob(t *testing.T) {
	t.Parallel()
	f := newFleet(t)
	defaults := session.DefaultConfig(session.Defaults{})
	made, created, err := f.Start(t.Context(), f.actor(), "a", nil, defaults, 0)
	if err != nil || !created {
		t.Fatalf("created %v, error %v", created, err)
	}
	if status, reason := made.View(); status != session.Starting || reason != nil {
		t.Fatalf("a session just started is %s %v", status, reason)
	}
	if n := f.count(`SELECT count(*) FROM start_job`); n != 1 {
		t.Fatalf("%d jobs, want 1", n)
	}
	again, created, err := f.Start(t.Context(), f.actor(), "a", nil, defaults, 0)
	if !errors.Is(err, session.ErrActive) || created || again.ID != made.ID {
		t.Fatalf("second start: %v created %v, want ErrActive for the same session", err, created)
	}
}

func TestExactlyOneOfManyConcurrentStartsSucceeds(t *testing.T) {
	t.Parallel()
	for _, existing := range []bool{false, true} {
		f := newFleet(t)
		if existing {
			f.start("a")
			must[session.Session](f)(f.Stop(t.Context(), f.actor(), "a"))
		}
		const n = 40
		var wg sync.WaitGroup
		errs := make([]error, n)
		for i := range n {
			wg.Go(func() {
				_, _, errs[i] = f.Start(t.Context(), f.actor(), "a", nil, session.DefaultConfig(session.Defaults{}), 0)
			})
		}
		wg.Wait()
		won := 0
		for _, err := range errs {
			switch {
			case err == nil:
				won++
			case !errors.Is(err, session.ErrActive):
				t.Fatal(err)
			}
		}
		if won != 1 {
			t.Fatalf("existing %v: %d starts succeeded, want 1", existing, won)
		}
		if jobs := f.count(`SELECT count(*) FROM start_job`); jobs != 1 {
			t.Fatalf("%d jobs, want 1", jobs)
		}
	}
}

func TestStopKeepsTheSessionAndRemovesTheJob(t *testing.T) {
	t.Parallel()
	f := newFleet(t)
	f.start("a")
	stopped := must[session.Session](f)(f.Stop(t.Context(), f.actor(), "a"))
	if status, _ := stopped.View(); status != session.Stopped {
		t.Fatalf("status %s", status)
	}
	if jobs := f.count(`SELECT count(*) FROM start_job`); jobs != 0 {
		t.Fatalf("%d jobs, want 0", jobs)
	}
	if _, err := f.Stop(t.Context(), f.actor(), "a"); !errors.Is(err, session.ErrStopped) {
		t.Fatalf("second stop: %v", err)
	}
	if _, err := f.Stop(t.Context(), f.actor(), "unknown"); !errors.Is(err, session.ErrNotFound) {
		t.Fatalf("unknown: %v", err)
	}
}

func TestOmittedConfigKeepsTheStoredOne(t *testing.T) {
	t.Parallel()
	f := newFleet(t)
	defaults := session.DefaultConfig(session.Defaults{})
	config := defaults
	config.Log.Level = session.LevelDebug
	config.Extra = map[string]any{"noweb": map[string]any{"markOnline": true}}
	if _, _, err := f.Start(t.Context(), f.actor(), "a", &session.Stored{Config: config}, defaults, 0); err != nil {
		t.Fatal(err)
	}
	must[session.Session](f)(f.Stop(t.Context(), f.actor(), "a"))
	again := f.start("a")
	if again.Config.Log.Level != session.LevelDebug || again.Config.Extra["noweb"] == nil {
		t.Fatalf("config %+v", again.Config)
	}
}

func TestStoreCannotMoveWhileADeviceIsLinked(t *testing.T) {
	t.Parallel()
	f := newFleet(t)
	f.start("a")
	me := f.connector("c")
	claim := f.claim(me, 1)[0]
	if err := f.SetDeviceIfEpoch(t.Context(), me, termOf(claim), "5511999:3@s.whatsapp.net", 1); err != nil {
		t.Fatal(err)
	}
	must[session.Session](f)(f.Stop(t.Context(), f.actor(), "a"))
	moved := session.DefaultConfig(session.Defaults{Dialect: session.Postgres})
	if _, _, err := f.Start(t.Context(), f.actor(), "a", &session.Stored{Config: moved}, moved, 0); !errors.Is(err, session.ErrStoreInUse) {
		t.Fatalf("error %v, want ErrStoreInUse", err)
	}
	f.wantStatus("a", session.Stopped, "")
}

func TestTenantsDoNotSeeEachOther(t *testing.T) {
	t.Parallel()
	f := newFleet(t)
	f.start("a")
	other := must[session.TenantID](f)(f.CreateTenant(t.Context(), "other"))
	if _, err := f.Session(t.Context(), other, "a"); !errors.Is(err, session.ErrNotFound) {
		t.Fatalf("error %v", err)
	}
	if list := must[[]session.Session](f)(f.Sessions(t.Context(), other, store.Filter{All: true, Limit: 10})); len(list) != 0 {
		t.Fatalf("sees %d sessions", len(list))
	}
	if list := must[[]session.Session](f)(f.Sessions(t.Context(), f.tenant, store.Filter{Limit: 10})); len(list) != 1 {
		t.Fatalf("owner sees %d sessions", len(list))
	}
}
