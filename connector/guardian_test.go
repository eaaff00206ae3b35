package main

import (
	"bufio"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/wafleet/wafleet/shared/session"
)

func TestTheGuardianHearsOfLeases(t *testing.T) {
	read, write, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer read.Close()
	own, err := syscall.Dup(int(write.Fd())) // a child has one of its own
	if err != nil {
		t.Fatal(err)
	}
	write.Close()
	g, err := openGuardian(own, 0)
	if err != nil {
		t.Fatal(err)
	}
	for _, id := range []session.ConnectorID{"one", "", "two"} {
		g.tell(id)
	}
	g.leases.Close()
	lines := bufio.NewScanner(read)
	var heard []string
	for lines.Scan() {
		heard = append(heard, lines.Text())
	}
	if got := strings.Join(heard, "|"); got != "one||two" {
		t.Errorf("heard %q", got)
	}
	guardian{}.tell("nobody listens")
}

func TestOnlyPipesAreAGuardians(t *testing.T) {
	file, err := os.Create(filepath.Join(t.TempDir(), "file"))
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	for name, fd := range map[string]int{"a file": int(file.Fd()), "closed": 1 << 20, "standard error": 2, "negative": -1} {
		if _, err := openGuardian(fd, 0); err == nil || !strings.Contains(err.Error(), "GUARD_LEASE_FD") {
			t.Errorf("%s for leases: %v", name, err)
		}
		if _, err := openGuardian(0, fd); err == nil || !strings.Contains(err.Error(), "GUARD_CRASH_FD") {
			t.Errorf("%s for crashes: %v", name, err)
		}
	}
	if g, err := openGuardian(0, 0); g.leases != nil || err != nil {
		t.Errorf("without a guard: %+v, %v", g, err)
	}
}
