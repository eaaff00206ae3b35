package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/wafleet/wafleet/infra/local/logs"
	"github.com/wafleet/wafleet/shared/backoff"
	"github.com/wafleet/wafleet/shared/child"
)

func fleetOf(t *testing.T, members int, role string, out *page) fleetConfig {
	dir := t.TempDir()
	return fleetConfig{
		members: members, connector: "connector", tenures: filepath.Join(dir, "run"), screen: newConsole(out, false),
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
	out := &page{}
	f := begin(t, fleetOf(t, 2, "obeys:host-1", out))
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
	if got := f.addresses(); len(got) != 0 {
		t.Errorf("addresses after the end %q", got)
	}
}

func TestDeadConnectorIsReported(t *testing.T) {
	t.Parallel()
	out := &page{}
	f := begin(t, fleetOf(t, 1, "dies:host-7", out))
	poll(t, "two deaths", func() bool { return strings.Count(out.String(), "\n") >= 2 })
	f.stop()
	if got := out.String(); !strings.Contains(got, "connector-1 ended by itself (exit status 7); it starts again in") {
		t.Errorf("reported: %s", got)
	}
}

// Each member has a guard and a tenure of its own.
func TestMembersAreGuarded(t *testing.T) {
	t.Parallel()
	config := fleetOf(t, 2, "", &page{})
	config.tenures = "run"
	for name, want := range map[string]string{
		"connector-1": "-tenure run/connector-1 connector",
		"connector-2": "-tenure run/connector-2 connector",
	} {
		if got := strings.Join(config.guarded(name).Args, " "); got != want {
			t.Errorf("arguments %q, want %q", got, want)
		}
	}
}

func TestOnlyTheConnectorsOwnLineRegisters(t *testing.T) {
	t.Parallel()
	config := fleetOf(t, 1, "", &page{})
	log, err := config.logs.Open("connector-1")
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	c := &connector{log: log, registered: make(chan struct{})}
	for _, line := range []string{
		`{"msg":"another","address":"1.1.1.1:1","text":"connector registered"}`,
		`connector registered`,
	} {
		if c.line(line); c.known {
			t.Fatalf("registered by %s", line)
		}
	}
	for _, address := range []string{"127.0.0.1:1", "127.0.0.1:2"} { // a lost lease begins anew
		c.line(`{"msg":"connector registered","address":"` + address + `"}`)
		if !c.known || c.address != address {
			t.Errorf("known %v at %q, want %s", c.known, c.address, address)
		}
	}
}
