package main

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"github.com/wafleet/wafleet/shared/session"
)

func TestScanFindsTheRunningSystem(t *testing.T) {
	t.Parallel()
	data := t.TempDir()
	if err := (&scanCommand{Session: "a"}).complete(nil, data); err == nil || !strings.Contains(err.Error(), "make run") {
		t.Errorf("without a system: %v", err)
	}
	key, err := keyOf("", filepath.Join(data, "apikey"))
	if err != nil {
		t.Fatal(err)
	}
	check := func(environ []string, want reach) {
		t.Helper()
		s := scanCommand{Session: "a"}
		if err := s.complete(environ, data); err != nil || s.reach != want {
			t.Errorf("reach %+v, %v; want %+v", s.reach, err, want)
		}
	}
	check(nil, reach{key, 8080, 8081})
	if err := (runFile{Port: 1000, ControlPort: 2000, APIKey: "run"}).write(runFilePath(data)); err != nil {
		t.Fatal(err)
	}
	checkPrivate(t, runFilePath(data))
	check(nil, reach{"run", 1000, 2000})
	check([]string{"PORT=", "API_KEY="}, reach{"run", 1000, 2000})
	check([]string{"PORT=3000", "SIM_CONTROL_PORT=4000", "API_KEY=given"}, reach{"given", 3000, 4000})
	for _, bad := range []scanCommand{{Session: ""}, {Session: "a/b"}, {Session: "sessions"}} {
		if bad.complete(nil, data) == nil {
			t.Errorf("session %q is taken", bad.Session)
		}
	}
}

func TestEverySessionHasAPhoneOfItsOwn(t *testing.T) {
	t.Parallel()
	seen := map[string]string{}
	for i := range 1000 {
		name := fmt.Sprintf("session-%d", i)
		number := numberFor(name)
		if _, err := session.ParsePhone("number", number); err != nil || number != numberFor(name) {
			t.Fatalf("number %q: %v", number, err)
		}
		if other, taken := seen[number]; taken {
			t.Errorf("%s and %s share %s", name, other, number)
		}
		seen[number] = name
	}
}

func TestShellQuote(t *testing.T) {
	t.Parallel()
	if got := shellQuote("apikey: it's"); got != `'apikey: it'\''s'` {
		t.Error(got)
	}
}
