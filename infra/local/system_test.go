package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/wafleet/wafleet/shared/session"
)

const (
	systemKey = "a-key-for-the-system-test"
	// stopBound is what the end of everything may take.
	stopBound = 10 * time.Second
)

// TestSystem goes the way of a newcomer, with the built programs: run, start,
// scan, WORKING, stop, run again and WORKING without a scan.
func TestSystem(t *testing.T) {
	if testing.Short() {
		t.Skip("builds and runs the whole system")
	}
	t.Parallel()
	s := buildSystem(t)
	first := s.start(t)
	dialects := map[string]string{"in-a-file": "sqlite3", "in-postgres": "postgres"}
	for name, dialect := range dialects {
		s.create(t, name, dialect)
		s.scan(t, name)
	}
	s.checkRefusedRun(t)
	if killConnector(t, first.process.Pid) {
		poll(t, "the death is reported", func() bool { return strings.Contains(first.out.String(), "ended by itself (exit status 137)") })
	}
	for name := range dialects {
		s.awaitWorking(t, name)
	}
	s.checkLogs(t)
	first.stop(t, syscall.SIGINT)
	s.checkGone(t)

	second := s.start(t)
	for name := range dialects {
		s.awaitWorking(t, name)
	}
	second.stop(t, syscall.SIGTERM)
	s.checkGone(t)
}

// system is a directory with programs and data.
type system struct {
	dir           string
	port, control uint16
	secrets       []string // seen on the way; none may be in a log
}

func buildSystem(t *testing.T) *system {
	t.Helper()
	s := &system{dir: t.TempDir(), port: freePort(t), control: freePort(t), secrets: []string{systemKey}}
	for name, source := range map[string]string{"wafleet-local": ".", "connector": "../../connector", "guard": "../../connector/guard"} {
		build := exec.CommandContext(t.Context(), "go", "build", "-trimpath", "-o", filepath.Join(s.dir, "bin", name), source)
		build.Env = append(os.Environ(), "CGO_ENABLED=0")
		if out, err := build.CombinedOutput(); err != nil {
			t.Fatalf("build %s: %v\n%s", name, err, out)
		}
	}
	return s
}

func freePort(t *testing.T) uint16 {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	return uint16(listener.Addr().(*net.TCPAddr).Port)
}

// command is one of the program, in the system's directory.
func (s *system) command(t *testing.T, args ...string) (*exec.Cmd, *page) {
	out := &page{}
	cmd := exec.CommandContext(t.Context(), filepath.Join(s.dir, "bin", "wafleet-local"), args...)
	cmd.Dir = s.dir
	cmd.Stdout, cmd.Stderr = out, out
	for _, name := range []string{"PATH", "HOME", "TMPDIR", "GOCOVERDIR"} {
		cmd.Env = append(cmd.Env, name+"="+os.Getenv(name))
	}
	return cmd, out
}

// running is one run of the system.
type running struct {
	process *os.Process
	out     *page
	ended   chan error
}

func (s *system) start(t *testing.T) *running {
	t.Helper()
	cmd, out := s.command(t)
	cmd.Env = append(cmd.Env, "WHATSAPP=sim", "API_KEY="+systemKey, "CONNECTORS=2",
		"PORT="+strconv.Itoa(int(s.port)), "SIM_CONTROL_PORT="+strconv.Itoa(int(s.control)))
	began := time.Now()
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	r := &running{process: cmd.Process, out: out, ended: make(chan error, 1)}
	go func() { r.ended <- cmd.Wait() }()
	t.Cleanup(func() {
		if t.Failed() {
			t.Log(out)
		}
	})
	poll(t, "the system is ready", func() bool {
		if len(r.ended) > 0 {
			t.Fatalf("the system ended: %v\n%s", <-r.ended, out)
		}
		return s.get(t, "/health", nil) == http.StatusOK
	})
	t.Logf("ready after %v", time.Since(began))
	return r
}

// stop ends a run the way its user does.
func (r *running) stop(t *testing.T, with syscall.Signal) {
	t.Helper()
	began := time.Now()
	if err := r.process.Signal(with); err != nil {
		t.Fatal(err)
	}
	if err := next(t, r.ended, "end of the system"); err != nil {
		t.Errorf("ended with %v\n%s", err, r.out)
	}
	if took := time.Since(began); took > stopBound {
		t.Errorf("the end took %v", took)
	}
}

// get returns 0 while nobody answers.
func (s *system) get(t *testing.T, path string, into any) int {
	return s.do(t, http.MethodGet, path, "", into)
}

func (s *system) do(t *testing.T, method, path, body string, into any) int {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), method, fmt.Sprintf("http://127.0.0.1:%d%s", s.port, path), strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	request.Header.Set("apikey", systemKey)
	var raw json.RawMessage
	status, err := do(request, &raw)
	if err != nil {
		return 0
	}
	if into != nil {
		if err := json.Unmarshal(raw, into); err != nil {
			t.Fatalf("%s %s: %v", method, path, err)
		}
	}
	return status
}

func (s *system) create(t *testing.T, name, dialect string) {
	t.Helper()
	body := strings.Replace(documentedBody, "sqlite3", dialect, 1)
	if status := s.do(t, http.MethodPost, "/api/sessions/"+name+"/start", body, nil); status != http.StatusCreated {
		t.Fatalf("start %s: status %d", name, status)
	}
	var qr struct {
		Value string `json:"value"`
	}
	if status := s.get(t, "/api/"+name+"/auth/qr?format=raw", &qr); status != http.StatusOK || qr.Value == "" {
		t.Fatalf("QR code of %s: status %d", name, status)
	}
	s.secrets = append(s.secrets, qr.Value)
}

// scan needs no variables: it finds the running system by its data.
func (s *system) scan(t *testing.T, name string) {
	t.Helper()
	cmd, out := s.command(t, "scan", name)
	if err := cmd.Run(); err != nil {
		t.Fatalf("scan %s: %v\n%s", name, err, out)
	}
	want := "session " + name + ": WORKING as " + numberFor(name) + "@c.us"
	if !strings.Contains(out.String(), want) {
		t.Errorf("scan says %q, want %q", out, want)
	}
}

func (s *system) awaitWorking(t *testing.T, name string) {
	t.Helper()
	poll(t, name+" works", func() bool {
		var now view
		s.get(t, "/api/sessions/"+name, &now)
		return now.Status == session.Working
	})
}

func (s *system) checkRefusedRun(t *testing.T) {
	t.Helper()
	cmd, out := s.command(t, "run")
	err := cmd.Run()
	var exit *exec.ExitError
	if !errors.As(err, &exit) || exit.ExitCode() != 1 {
		t.Errorf("second run: %v", err)
	}
	if got := out.String(); strings.Count(got, "\n") != 1 || !strings.Contains(got, "already running: process ") {
		t.Errorf("second run says %q", got)
	}
}

// checkLogs looks for secrets in everything that was logged.
func (s *system) checkLogs(t *testing.T) {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(s.dir, ".data", "logs", "*"))
	if err != nil || len(files) < 5 {
		t.Fatalf("log files %q, %v", files, err)
	}
	for _, file := range files {
		content, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, secret := range s.secrets {
			if strings.Contains(string(content), secret) {
				t.Errorf("a secret is in %s", file)
			}
		}
	}
}

// killConnector kills one connector below its guard, where the machine has pgrep.
func killConnector(t *testing.T, parent int) bool {
	t.Helper()
	below := func(parent, name string) []string {
		out, err := exec.CommandContext(t.Context(), "pgrep", "-P", parent, "-x", name).Output()
		if err != nil {
			t.Logf("pgrep says %q, %v", out, err)
		}
		return strings.Fields(string(out))
	}
	guards := below(strconv.Itoa(parent), "guard")
	if len(guards) != 2 {
		t.Logf("no connector is killed: the guards are %v", guards)
		return false
	}
	connectors := below(guards[0], "connector")
	if len(connectors) != 1 {
		t.Fatalf("a guard has the children %v", connectors)
	}
	pid, _ := strconv.Atoi(connectors[0])
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	return true
}

// checkGone looks for processes that belong to the system.
func (s *system) checkGone(t *testing.T) {
	t.Helper()
	if runtime.GOOS != "linux" {
		return
	}
	files, err := filepath.Glob("/proc/[0-9]*/cmdline")
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		if line, err := os.ReadFile(file); err == nil && strings.Contains(string(line), s.dir) { // it may be gone meanwhile
			t.Errorf("left behind: %s %q", file, line)
		}
	}
	if _, err := os.Stat(runFilePath(filepath.Join(s.dir, ".data"))); !os.IsNotExist(err) {
		t.Errorf("run.json stays: %v", err)
	}
}
