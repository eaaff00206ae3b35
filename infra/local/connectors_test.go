package main

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/wafleet/wafleet/infra/local/child"
	"github.com/wafleet/wafleet/infra/local/logs"
	"github.com/wafleet/wafleet/shared/backoff"
	"github.com/wafleet/wafleet/shared/session"
)

// fakeLeases tells which leases were ended.
type fakeLeases struct{ ended, orphans chan session.ConnectorID }

func newFakeLeases() fakeLeases {
	return fakeLeases{make(chan session.ConnectorID, 100), make(chan session.ConnectorID, 100)}
}

func (f fakeLeases) EndLease(_ context.Context, id session.ConnectorID) error {
	f.ended <- id
	return nil
}

func (f fakeLeases) EnqueueOrphans(context.Context) (int, error) {
	f.orphans <- ""
	return 0, nil
}

func fleetOf(t *testing.T, members int, role string, leases leases, out *page) fleetConfig {
	dir := t.TempDir()
	return fleetConfig{
		members: members, dir: filepath.Join(dir, "run"), leases: leases, screen: newConsole(out, false),
		logs: logs.Dir{Path: filepath.Join(dir, "logs"), Show: func(string) {}},
		program: child.Program{
			Path: os.Args[0], Env: append(os.Environ(), envRole+"="+role),
			Restart: backoff.Policy{Base: time.Millisecond, Max: time.Millisecond},
		},
	}
}

func begin(t *testing.T, config fleetConfig) *fleet {
	t.Helper()
	f, err := startFleet(t.Context(), t.Context(), config)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func TestFleetRegistersAndStops(t *testing.T) {
	t.Parallel()
	leases, out := newFakeLeases(), &page{}
	f := begin(t, fleetOf(t, 2, "obeys:host-1", leases, out))
	if err := f.awaitRegistered(t.Context()); err != nil {
		t.Error(err)
	}
	if got := strings.Join(f.addresses(), " "); got != "127.0.0.1:1 127.0.0.1:1" {
		t.Errorf("addresses %q", got)
	}
	f.stop()
	if got := out.String(); got != "" {
		t.Errorf("an orderly end was reported: %s", got)
	}
}

func TestDeadConnectorIsReportedAndItsLeaseEnded(t *testing.T) {
	t.Parallel()
	leases, out := newFakeLeases(), &page{}
	f := begin(t, fleetOf(t, 1, "dies:host-7", leases, out))
	for range 2 {
		if id := next(t, leases.ended, "ended lease"); id != "host-7" {
			t.Errorf("lease of %q ended", id)
		}
		next(t, leases.orphans, "look for orphans")
	}
	f.stop()
	if got := out.String(); !strings.Contains(got, "connector-1 ended by itself (exit status 7); it starts again in") {
		t.Errorf("reported: %s", got)
	}
}

func TestNextRunEndsTheLeaseOfAKilledOne(t *testing.T) {
	t.Parallel()
	leases, out := newFakeLeases(), &page{}
	config := fleetOf(t, 1, "obeys:new", leases, out)
	killed, _, err := openTenure(t.Context(), filepath.Join(config.dir, "connector-1"))
	if err != nil {
		t.Fatal(err)
	}
	if err := killed.hold("old"); err != nil {
		t.Fatal(err)
	}
	killed.close()
	f := begin(t, config)
	if id := next(t, leases.ended, "ended lease"); id != "old" {
		t.Errorf("lease of %q ended", id)
	}
	if err := f.awaitRegistered(t.Context()); err != nil {
		t.Error(err)
	}
	f.stop()
	if id := next(t, leases.ended, "ended lease"); id != "new" {
		t.Errorf("lease of %q ended", id)
	}
	again, last, err := openTenure(t.Context(), filepath.Join(config.dir, "connector-1"))
	if err != nil || last != "" {
		t.Errorf("after an orderly end the file names %q, %v", last, err)
	}
	again.close()
}

func TestLivingConnectorKeepsItsTenure(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "run", "connector-1")
	held, _, err := openTenure(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	defer held.close()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, _, err := openTenure(ctx, path); err == nil || !strings.Contains(err.Error(), "still lives") {
		t.Errorf("error = %v", err)
	}
}

func TestLostLeaseReplacesTheID(t *testing.T) {
	t.Parallel()
	leases := newFakeLeases()
	c, err := newConnector(t.Context(), "connector-1", fleetOf(t, 1, "", leases, &page{}))
	if err != nil {
		t.Fatal(err)
	}
	defer c.tenure.close()
	defer c.log.Close()
	for _, line := range []string{
		`{"msg":"connector registered","connector":"a"}`,
		`{"msg":"connector registered","connector":"b"}`,
		`{"msg":"another","connector":"c","text":"connector registered"}`,
		`{"msg":"connector registered"}`,
		`connector registered`,
	} {
		c.line(line)
	}
	c.endLease()
	if id := next(t, leases.ended, "ended lease"); id != "b" {
		t.Errorf("lease of %q ended, want b", id)
	}
}
