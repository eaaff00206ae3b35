package store_test

import (
	"errors"
	"fmt"
	"sync"
	"testing"

	"github.com/wafleet/wafleet/shared/session"
)

func (f *fleet) create(name session.Name, run bool, quota int) error {
	_, err := f.Create(f.Context(), f.actor(), name, session.Stored{Config: session.DefaultConfig(session.Defaults{})}, run, quota)
	return err
}

func (f *fleet) startWithin(name session.Name, quota int) error {
	_, _, err := f.Start(f.Context(), f.actor(), name, nil, session.DefaultConfig(session.Defaults{}), quota)
	return err
}

func TestAQuotaHoldsWhoeverCreates(t *testing.T) {
	t.Parallel()
	f := newFleet(t)
	const n, quota = 40, 10
	errs := make([]error, n)
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() {
			name := session.Name(fmt.Sprint("s", i))
			if i%2 == 0 {
				errs[i] = f.create(name, true, quota)
			} else {
				errs[i] = f.startWithin(name, quota)
			}
		})
	}
	wg.Wait()
	made := 0
	for _, err := range errs {
		switch {
		case err == nil:
			made++
		case !errors.Is(err, session.ErrQuota):
			t.Error(err)
		}
	}
	if made != quota {
		t.Errorf("%d were made, want %d", made, quota)
	}
	for what, table := range map[string]string{"sessions": "session", "runs": "session_run", "codes": "pairing", "jobs": "start_job", "audited": "audit WHERE key_id = 'test'"} {
		f.wantCount(what, `SELECT count(*) FROM `+table, quota)
	}
}

func TestAQuotaIsOfSessionsThatAreThere(t *testing.T) {
	t.Parallel()
	f := newFleet(t)
	if err := f.create("a", false, 1); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		what string
		got  error
		want error
	}{
		{"one more", f.create("b", true, 1), session.ErrQuota},
		{"one more by a start", f.startWithin("b", 1), session.ErrQuota},
		{"the same", f.create("a", true, 1), session.ErrExists},
		{"a start of what is there", f.startWithin("a", 1), nil},
		{"a start of what runs", f.startWithin("a", 1), session.ErrActive},
		{"without a quota", f.create("b", true, 0), nil},
		{"without a quota, the same", f.create("b", true, 0), session.ErrExists},
		{"a start with a lower quota", f.startWithin("b", 1), session.ErrActive},
	} {
		if !errors.Is(c.got, c.want) || (c.want == nil) != (c.got == nil) {
			t.Errorf("%s: %v, want %v", c.what, c.got, c.want)
		}
	}
	f.delete("a")
	f.delete("b")
	if err := f.create("c", true, 1); err != nil {
		t.Errorf("deleted sessions count: %v", err)
	}
}

// What is done is in the audit once, and what is refused is not.
func TestTheAuditHasWhatWasDone(t *testing.T) {
	t.Parallel()
	f := newFleet(t)
	me := f.connector("c")
	var want []string
	did := func(action string, err error) {
		t.Helper()
		if err != nil {
			t.Fatalf("%s: %v", action, err)
		}
		want = append(want, action)
	}
	refused := func(what string, err, want error) {
		t.Helper()
		if !errors.Is(err, want) {
			t.Fatalf("%s: %v, want %v", what, err, want)
		}
	}
	config := session.Stored{Config: session.DefaultConfig(session.Defaults{})}
	moved := session.Stored{Config: session.DefaultConfig(session.Defaults{Dialect: session.Postgres})}
	ctx, by := t.Context(), f.actor()

	did("session.start", f.startWithin("a", 0))
	refused("start", f.startWithin("a", 0), session.ErrActive)
	refused("create", f.create("a", true, 0), session.ErrExists)
	refused("create", f.create("b", true, 1), session.ErrQuota)
	refused("logout", second(f.Logout(ctx, by, "a")), session.ErrNotAuthenticated)
	f.setDevice(me, f.claim(me, 1)[0], aDevice, 1)
	refused("update", second(f.Update(ctx, by, "a", moved)), session.ErrStoreInUse)
	refused("restart", second(f.Restart(ctx, by, "a", &moved)), session.ErrStoreInUse)
	did("session.update", second(f.Update(ctx, by, "a", config)))
	did("session.restart", second(f.Restart(ctx, by, "a", nil)))
	did("session.stop", second(f.Stop(ctx, by, "a")))
	refused("stop", second(f.Stop(ctx, by, "a")), session.ErrStopped)
	did("session.start", f.startWithin("a", 1))
	did("session.logout", second(f.Logout(ctx, by, "a")))
	refused("logout", second(f.Logout(ctx, by, "a")), session.ErrNotAuthenticated)
	did("session.delete", second(f.Delete(ctx, by, "a")))
	refused("delete", second(f.Delete(ctx, by, "a")), session.ErrNotFound)
	did("session.create", f.create("a", false, 1))

	f.wantCount("rows", `SELECT count(*) FROM audit WHERE key_id = 'test' AND request_id = 'r' AND subject = 'a' AND session_id IS NOT NULL`, len(want))
	for i, action := range want {
		f.wantCount("rows at "+action, fmt.Sprintf(`SELECT count(*) FROM (SELECT action FROM audit WHERE key_id = 'test' ORDER BY id OFFSET %d LIMIT 1) a WHERE action = '%s'`, i, action), 1)
	}
}
