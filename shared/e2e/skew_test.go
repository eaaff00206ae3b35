package e2e

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/wafleet/wafleet/shared/session"
)

// skewVariable is by how many seconds the wall clock of a connector that
// skewed() builds is ahead; negative is behind.
const skewVariable = "WAFLEET_TEST_CLOCK_AHEAD"

// skewed returns a connector whose time.Now is off by what the environment
// says. The monotonic clock, by which timers and time.Since go, is as it was.
var skewed = sync.OnceValues(func() (program string, err error) {
	dir := binaries
	overlay, err := patchClock(dir)
	if err != nil {
		return "", err
	}
	program = filepath.Join(dir, "skewed-connector")
	// Without the race detector: everything is compiled anew for it.
	build := exec.Command("go", "build", "-overlay", overlay, "-o", program, "github.com/wafleet/wafleet/connector")
	if out, err := build.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build the connector with another clock: %w\n%s", err, out)
	}
	return program, nil
})

// patchClock writes a copy of Go's own time.go that has another time.Now, and
// the description of that for the go command, whose name it returns.
func patchClock(dir string) (overlay string, err error) {
	root, err := exec.Command("go", "env", "GOROOT").Output()
	if err != nil {
		return "", fmt.Errorf("find GOROOT: %w", err)
	}
	original := filepath.Join(string(bytes.TrimSpace(root)), "src", "time", "time.go")
	text, err := os.ReadFile(original)
	if err != nil {
		return "", err
	}
	for old, patched := range map[string]string{
		"import (\n": "import (\n\t\"syscall\"\n",
		"\tsec, nsec, mono := runtimeNow()\n\tif mono == 0 {\n": "\tsec, nsec, mono := runtimeNow()\n\tsec += ahead\n\tif mono == 0 {\n",
	} {
		if bytes.Count(text, []byte(old)) != 1 {
			return "", fmt.Errorf("%s does not hold %q once: this Go needs another patch", original, old)
		}
		text = bytes.Replace(text, []byte(old), []byte(patched), 1)
	}
	text = fmt.Appendf(text, `
var ahead = func() int64 {
	text, _ := syscall.Getenv(%q)
	seconds, _ := atoi(text)
	return int64(seconds)
}()
`, skewVariable)
	patched := filepath.Join(dir, "time.go")
	if err := os.WriteFile(patched, text, 0o600); err != nil {
		return "", err
	}
	description, err := json.Marshal(map[string]map[string]string{"Replace": {original: patched}})
	if err != nil {
		return "", err
	}
	overlay = filepath.Join(dir, "overlay.json")
	return overlay, os.WriteFile(overlay, description, 0o600)
}

// skewedConnector launches a connector whose wall clock is ahead.
func (s *system) skewedConnector(ahead time.Duration, env ...string) *process {
	s.Helper()
	program, err := skewed()
	if err != nil {
		s.Fatal(err)
	}
	c := s.registered(program, append(env, skewVariable+"="+strconv.Itoa(int(ahead.Seconds())))...)
	var line struct{ Time time.Time }
	written, _ := c.log.Text()
	if err := json.NewDecoder(strings.NewReader(written)).Decode(&line); err != nil {
		s.Fatal(err)
	}
	if off := time.Until(line.Time) - ahead; off.Abs() > patience {
		s.Fatalf("the connector's clock is %v ahead, want %v", time.Until(line.Time), ahead)
	}
	return c
}

// TestAClockThatIsOffByMinutes: one of two connectors has another idea of the
// time. Who holds what, and how long a code is shown, go by the database's
// clock, so nothing comes of it.
func TestAClockThatIsOffByMinutes(t *testing.T) {
	t.Parallel()
	beside(t, map[string]time.Duration{"ahead": 7 * time.Minute, "behind": -7 * time.Minute}, func(t *testing.T, ahead time.Duration) {
		s := newSystem(t, options{})
		off := s.skewedConnector(ahead, shortLease)
		s.start("a", postgresStart)
		s.wait("a", session.ScanQRCode)
		s.codeIsFresh("a")
		s.scan("a", "5511999990561")
		skewedID := s.get("a").text("assignedWorker")
		right := s.connector(shortLease)
		b := s.pairElsewhere(skewedID)

		terms, logins := s.terms(), s.sim.Stats().Logins
		s.pass(5 * time.Second) // longer than a lease
		if now := s.terms(); now != terms || s.sim.Stats().Logins != logins {
			t.Errorf("%d more logins; held were\n%s\nand are\n%s", s.sim.Stats().Logins-logins, terms, now)
		}

		right.kill()
		s.runsOn(b, func(worker string) bool { return worker == skewedID })
		right = s.connector(shortLease)
		off.kill()
		for _, one := range []string{"a", b} {
			s.runsOn(one, func(worker string) bool { return worker != skewedID })
		}
		s.invariants(right)
		if code := right.end(); code != 0 {
			t.Errorf("exit code %d", code)
		}
	})
}

// codeIsFresh checks that the first code's end is within the minute that it is
// shown.
func (s *system) codeIsFresh(name string) {
	s.Helper()
	shown := s.want(200, "GET", "/api/"+name+"/auth/qr", "")
	s.secret(shown.text("value"))
	expires, err := time.Parse(time.RFC3339Nano, shown.text("expiresAt"))
	if left := time.Until(expires); err != nil || left <= 60*time.Second-patience || left > 60*time.Second {
		s.Errorf("the code's end is %q, in %v, error %v", shown.text("expiresAt"), left, err)
	}
}

// runsOn waits until a session is WORKING on such a connector.
func (s *system) runsOn(name string, right func(worker string) bool) {
	s.Helper()
	s.eventually(name+" on another connector", func() bool {
		seen := s.get(name)
		worker := seen.text("assignedWorker")
		return seen.text("status") == string(session.Working) && worker != "" && right(worker)
	})
}
