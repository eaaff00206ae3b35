package pgserver

import (
	"bufio"
	"context"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"testing"

	"github.com/wafleet/wafleet/shared/child"
)

// envParent makes the test binary a parent that starts a server on the named data directory and waits to be killed.
const envParent = "PGSERVER_TEST_PARENT"

func actAsParent() {
	s, err := Start(context.Background(), Config{DataDir: os.Getenv(envParent), Fast: true})
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	fmt.Println(s.process.Pid())
	<-s.Done()
}

// startDoomedParent returns a process with a server on dir, and the server's pid.
func startDoomedParent(t *testing.T, dir string) (*exec.Cmd, int) {
	t.Helper()
	parent := exec.Command(os.Args[0])
	parent.Env = append(os.Environ(), envParent+"="+dir)
	parent.Stderr = os.Stderr
	out, err := parent.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := parent.Start(); err != nil {
		t.Fatal(err)
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	pid, convErr := strconv.Atoi(strings.TrimSpace(line))
	if err != nil || convErr != nil {
		_ = parent.Process.Kill()
		_ = parent.Wait()
		t.Fatalf("parent says %q, %v", line, err)
	}
	return parent, pid
}

func TestServerDiesWithItsParent(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(openDir(t), "postgres")
	parent, pid := startDoomedParent(t, dir)
	if !isPostgresOn(pid, dir) {
		t.Errorf("pid %d is no Postgres on %s", pid, dir)
	}
	if err := parent.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = parent.Wait() // killed
	if runtime.GOOS == "linux" {
		if ended, err := awaitEnd(t.Context(), pid, dir, quitGrace); !ended || err != nil {
			t.Errorf("server outlives its parent: %v", err)
		}
	}
	start(t, Config{DataDir: dir})
	if isPostgresOn(pid, dir) {
		t.Error("two servers on one data directory")
	}
}

// Where the kernel does not end the server, or failed to, the next Start does.
func TestOrphanIsStoppedByTheNextStart(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(openDir(t), "postgres")
	first := start(t, Config{DataDir: dir})
	createNote(t, first, "kept")
	stop(t, first)

	orphan := exec.Command(first.bin.postgres, first.serverArgs(Config{MaxConnections: 10})...)
	orphan.SysProcAttr = first.data.account.attrs()
	orphan.Dir = "/"
	if err := orphan.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- orphan.Wait() }()
	if err := awaitReady(t.Context(), "postgres", serverURL(first.port, first.password, ""), new(child.Process)); err != nil {
		t.Fatal(err)
	}

	second := start(t, Config{DataDir: dir})
	if err := <-ended; err != nil {
		t.Errorf("the orphan's end was not orderly: %v", err)
	}
	if got := queryText(t, second, "SELECT body FROM note"); got != "kept" {
		t.Errorf("note = %q", got)
	}
}

// After a reboot the number in postmaster.pid may belong to anybody; here to this test.
func TestReusedPidIsLeftAlone(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(openDir(t), "postgres")
	first := start(t, Config{DataDir: dir})
	stop(t, first)
	pidFile := filepath.Join(first.data.real, "postmaster.pid")
	if err := os.WriteFile(pidFile, fmt.Appendln(nil, os.Getpid()), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := stopLeftover(t.Context(), first.data.real, slog.New(slog.DiscardHandler)); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(pidFile); !os.IsNotExist(err) {
		t.Errorf("stale pid file: %v", err)
	}
	start(t, Config{DataDir: dir})
}
