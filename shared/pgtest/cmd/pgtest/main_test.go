package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"go.uber.org/goleak"

	"github.com/wafleet/wafleet/shared/pgtest"
)

// envAsCommand makes the test binary the command itself.
const envAsCommand = "PGTEST_TEST_AS_COMMAND"

func TestMain(m *testing.M) {
	if os.Getenv(envAsCommand) != "" {
		main()
	}
	goleak.VerifyTestMain(m)
}

// command runs the program with the variable for the server set to url.
func command(url string, args ...string) *exec.Cmd {
	cmd := exec.Command(os.Args[0], args...)
	cmd.Env = append(os.Environ(), envAsCommand+"=1", pgtest.EnvURL+"="+url)
	return cmd
}

func TestCommandGetsAServerAndItsExitCodeIsPassedOn(t *testing.T) {
	t.Parallel()
	out, err := command("", "--", "sh", "-c", `printf %s "$`+pgtest.EnvURL+`"; exit 7`).Output()
	if code := exitCodeOf(err); code != 7 {
		t.Errorf("code = %d (%v), want 7", code, err)
	}
	if !strings.HasPrefix(string(out), "postgres://postgres:") {
		t.Error("the command got no URL")
	}
}

func TestServerThatIsThereIsUsed(t *testing.T) {
	t.Parallel()
	out, err := command("postgres://there", "--", "sh", "-c", `printf %s "$`+pgtest.EnvURL+`"`).Output()
	if err != nil || string(out) != "postgres://there" {
		t.Errorf("%q, %v", out, err)
	}
}

func TestSignalsArePassedOn(t *testing.T) {
	t.Parallel()
	ready := filepath.Join(t.TempDir(), "ready")
	if err := syscall.Mkfifo(ready, 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := command("postgres://there", "--", "sh", "-c", `trap 'exit 42' TERM; echo > "$0"; while :; do read -r _ <"$0"; done`, ready)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	if _, err := os.ReadFile(ready); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if code := exitCodeOf(cmd.Wait()); code != 42 {
		t.Errorf("code = %d, want 42 from the command's trap", code)
	}
}

func TestKilledCommandIs128PlusSignal(t *testing.T) {
	t.Parallel()
	if code := exitCodeOf(command("postgres://there", "sh", "-c", "kill -KILL $$").Run()); code != 128+9 {
		t.Errorf("code = %d, want 137", code)
	}
}

func TestWrongUse(t *testing.T) {
	t.Parallel()
	if code := exitCodeOf(command("postgres://there").Run()); code != usageCode {
		t.Errorf("no command: code = %d", code)
	}
	if code := exitCodeOf(command("postgres://there", "--", "/no/such/program").Run()); code != failureCode {
		t.Errorf("no program: code = %d", code)
	}
}

func exitCodeOf(err error) int {
	if err == nil {
		return 0
	}
	if exit, ok := err.(*exec.ExitError); ok {
		return exit.ExitCode()
	}
	return -1
}
