package upgrade

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/wafleet/wafleet/shared/e2e/bootstrap"
)

// previousRelease is the commit of the release that this one replaces: what runs
// somewhere while this one is deployed. A release moves it to itself, in the first
// commit after its tag. It stays at a release until the next: what runs is what was
// released, not what was merged.
const previousRelease = "4d2dd2a92897752b5aac241183dd4a9109850fa2"

// root is that of the repository.
const root = "../../.."

// sourceOf unpacks the repository as it was at a commit.
func sourceOf(t *testing.T, commit string) (dir string) {
	t.Helper()
	if _, err := git("cat-file", "-e", commit+"^{commit}"); err != nil {
		if shallow, _ := git("rev-parse", "--is-shallow-repository"); shallow != "false" {
			t.Skipf("SKIPPED: there is no history here to build the previous release from: git fetch --unshallow (in a workflow: fetch-depth: 0)")
		}
		t.Fatalf("the previous release, %s, is not in the history: git fetch origin %s, or correct previousRelease (%v)", commit, commit, err)
	}
	dir = t.TempDir()
	archive := exec.CommandContext(t.Context(), "git", "archive", "--format=tar", commit)
	archive.Dir = root
	unpack := exec.CommandContext(t.Context(), "tar", "-x", "-C", dir)
	var problems bootstrap.Output // of both, which run side by side
	archive.Stderr, unpack.Stderr = &problems, &problems
	pipe, err := archive.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	unpack.Stdin = pipe
	if err := unpack.Start(); err != nil {
		t.Fatal(err)
	}
	if err := archive.Run(); err != nil {
		t.Errorf("git archive: %v\n%s", err, &problems)
	}
	if err := unpack.Wait(); err != nil {
		t.Fatalf("tar: %v\n%s", err, &problems)
	}
	if _, err := os.Stat(filepath.Join(dir, "go.mod")); err != nil {
		t.Fatal(err)
	}
	return dir
}

func git(args ...string) (out string, err error) {
	command := exec.Command("git", args...)
	command.Dir = root
	text, err := command.Output()
	return strings.TrimSpace(string(text)), err
}
