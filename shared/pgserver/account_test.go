package pgserver

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// openDir is t.TempDir for the server's account too: the testing package closes the directory's parent to others.
func openDir(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	if err := os.Chmod(filepath.Dir(dir), 0o755); err != nil {
		t.Fatal(err)
	}
	return dir
}

func needRoot(t *testing.T) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("needs root")
	}
}

func uidOf(t *testing.T, path string) uint32 {
	t.Helper()
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	return info.Sys().(*syscall.Stat_t).Uid
}

func TestRootsServerIsUnprivileged(t *testing.T) {
	t.Parallel()
	needRoot(t)
	s := start(t, Config{DataDir: filepath.Join(openDir(t), "postgres")})
	if uid := uidOf(t, s.data.real); uid == 0 || uid != childAccount().uid {
		t.Errorf("data directory belongs to %d", uid)
	}
}

func TestDataOutOfReachIsPlacedElsewhereAndLinked(t *testing.T) {
	t.Parallel()
	needRoot(t)
	private := openDir(t)
	if err := os.Chmod(private, 0o700); err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(private, "clone", ".data", "postgres")
	first := start(t, Config{DataDir: dir})
	elsewhere, err := os.Readlink(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(elsewhere) })
	if !strings.HasPrefix(elsewhere, stateRoot+"/postgres-") {
		t.Errorf("link to %s", elsewhere)
	}
	createNote(t, first, "kept")
	stop(t, first)

	second := start(t, Config{DataDir: dir})
	if got := queryText(t, second, "SELECT body FROM note"); got != "kept" {
		t.Errorf("note = %q", got)
	}
	stop(t, second)
}

func TestDataThatMovedOutOfReachIsExplained(t *testing.T) {
	t.Parallel()
	needRoot(t)
	parent := filepath.Join(openDir(t), "parent")
	dir := filepath.Join(parent, "postgres")
	stop(t, start(t, Config{DataDir: dir}))
	if err := os.Chmod(parent, 0o700); err != nil {
		t.Fatal(err)
	}
	_, err := Start(t.Context(), Config{DataDir: dir})
	if err == nil || !strings.Contains(err.Error(), "may not enter "+parent) {
		t.Errorf("err = %v", err)
	}
}

func TestRootKeepsTheOwnerOfExistingData(t *testing.T) {
	t.Parallel()
	needRoot(t)
	const uid, gid = 54321, 54322
	dir := filepath.Join(openDir(t), "postgres")
	stop(t, start(t, Config{DataDir: dir}))
	if err := filepath.WalkDir(dir, func(path string, _ os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		return os.Chown(path, uid, gid)
	}); err != nil {
		t.Fatal(err)
	}
	s := start(t, Config{DataDir: dir})
	if s.data.account.uid != uid || s.data.account.gid != gid {
		t.Errorf("server runs as %+v", s.data.account)
	}
}

func TestBlockedAtNamesTheOutermostDirectory(t *testing.T) {
	t.Parallel()
	root := openDir(t)
	inner := filepath.Join(root, "outer", "inner")
	if err := os.MkdirAll(inner, 0o755); err != nil {
		t.Fatal(err)
	}
	stranger := account{name: "stranger", uid: 54321, gid: 54321, drop: true}
	if at := stranger.blockedAt(filepath.Join(inner, "missing")); at != "" {
		t.Errorf("open directories block at %s", at)
	}
	for _, dir := range []string{inner, filepath.Dir(inner)} {
		if err := os.Chmod(dir, 0o700); err != nil {
			t.Fatal(err)
		}
		if at := stranger.blockedAt(inner); at != dir {
			t.Errorf("blocked at %q, want %q", at, dir)
		}
	}
	if at := (account{uid: 54321}).blockedAt(inner); at != "" {
		t.Errorf("without a change of account blocked at %q", at)
	}
}

func TestCacheOutOfReachMoves(t *testing.T) {
	t.Parallel()
	dir := t.TempDir() // below a directory that is closed to others
	stranger := account{name: "stranger", uid: 54321, gid: 54321, drop: true}
	if got := reachableCache(stranger, filepath.Join(dir, "wafleet")); got != cacheRoot {
		t.Errorf("root's child would use %s", got)
	}
	if got := reachableCache(account{}, dir); got != dir {
		t.Errorf("a normal user would use %s", got)
	}
}
