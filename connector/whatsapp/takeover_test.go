package whatsapp

import (
	"bufio"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"testing/fstest"

	"github.com/wafleet/wafleet/shared/session"
)

// holdEnv names a device file that a process of the test holds.
const holdEnv = "WAFLEET_TEST_HOLD_FILE"

// hold has a device file open until its input ends: another process, because a
// process does not lock itself out.
func hold(file string) error {
	db, err := sql.Open("sqlite", fileURL(file))
	if err != nil {
		return err
	}
	db.SetMaxOpenConns(1)
	for _, statement := range []string{"CREATE TABLE mine (x)", "INSERT INTO mine VALUES (1)", "INSERT INTO mine VALUES (2)"} {
		if _, err := db.Exec(statement); err != nil {
			return err
		}
	}
	fmt.Println("held")
	_, _ = io.Copy(io.Discard, os.Stdin)
	return db.Close()
}

// holder starts a process that has a file open.
func holder(t *testing.T, file string) (holder *exec.Cmd, letGo func()) {
	t.Helper()
	holder = exec.Command(os.Args[0])
	holder.Env = append(os.Environ(), holdEnv+"="+file)
	holder.Stderr = os.Stderr
	in, err := holder.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := holder.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := holder.Start(); err != nil {
		t.Fatal(err)
	}
	left := false
	letGo = func() {
		if !left {
			left = true
			in.Close()
			if err := holder.Wait(); err != nil {
				t.Error(err)
			}
		}
	}
	t.Cleanup(letGo)
	if line, err := bufio.NewReader(out).ReadString('\n'); line != "held\n" {
		t.Fatalf("the holder said %q %v", line, err)
	}
	return holder, letGo
}

func TestACopyThatWasLeftBehindIsRemoved(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	d, term := disk(t, dir), fileTerm("tenant", "one", "/app/data/sub/my.copy-1.db")
	own := filepath.Join(dir, "tenant", "one", "sub")
	if err := os.MkdirAll(own, 0o700); err != nil {
		t.Fatal(err)
	}
	left := filepath.Join(own, "my.copy-1.db"+copyMark+"123-wal")
	if err := os.WriteFile(left, []byte("secret"), 0o600); err != nil {
		t.Fatal(err)
	}
	for range 2 { // a file of the caller's that is called a copy stays
		device, err := d.Open(t.Context(), term)
		if err != nil {
			t.Fatal(err)
		}
		if err := device.Close(); err != nil {
			t.Fatal(err)
		}
		entries, err := os.ReadDir(own)
		if err != nil || len(entries) != 1 || entries[0].Name() != "my.copy-1.db" {
			t.Fatalf("%v %v", entries, err)
		}
	}
}

// emptyDisk has the directory of one session, and names the file that its device
// will be in.
func emptyDisk(t *testing.T) (d *Devices, term Term, file string) {
	t.Helper()
	dir := t.TempDir()
	own := filepath.Join(dir, "tenant", "one")
	if err := os.MkdirAll(own, 0o700); err != nil {
		t.Fatal(err)
	}
	return disk(t, dir), fileTerm("tenant", "one", session.DefaultAddress), filepath.Join(own, "whatsmeow.db")
}

func TestTheFileOfAFrozenHolderIsTakenOver(t *testing.T) {
	t.Parallel()
	d, term, file := emptyDisk(t)
	own := filepath.Dir(file)
	frozen, letGo := holder(t, file)
	if err := frozen.Process.Signal(syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = frozen.Process.Signal(syscall.SIGCONT) }()

	rows := func(device *Device) (n int) {
		t.Helper()
		if err := device.file.QueryRow("SELECT count(*) FROM mine").Scan(&n); err != nil {
			t.Fatal(err)
		}
		return n
	}
	device, err := d.Open(t.Context(), term)
	if err != nil {
		t.Fatal(err)
	}
	if n := rows(device); n != 2 {
		t.Errorf("%d rows of what the frozen holder wrote, want 2", n)
	}
	if _, err := device.file.Exec("INSERT INTO mine VALUES (3)"); err != nil {
		t.Fatal(err)
	}
	// The old holder wakes and closes its file, which must not touch the new one's.
	if err := frozen.Process.Signal(syscall.SIGCONT); err != nil {
		t.Fatal(err)
	}
	letGo()
	if _, err := device.file.Exec("INSERT INTO mine VALUES (4)"); err != nil {
		t.Fatal(err)
	}
	if err := device.Close(); err != nil {
		t.Fatal(err)
	}
	again, err := d.Open(t.Context(), term)
	if err != nil {
		t.Fatal(err)
	}
	defer again.Close()
	if n := rows(again); n != 4 {
		t.Errorf("%d rows after the next open, want 4", n)
	}
	entries, err := os.ReadDir(own)
	if err != nil {
		t.Fatal(err)
	}
	for _, entry := range entries {
		if !strings.HasPrefix(entry.Name(), "whatsmeow.db~1") {
			t.Errorf("%s is left", entry.Name())
		}
	}
}

func TestATakeoverEndsWithTheTerm(t *testing.T) {
	t.Parallel()
	d, term, file := emptyDisk(t)
	holder(t, file)
	term.Held = func() error { return session.ErrFenced }
	if _, err := d.Open(t.Context(), term); !errors.Is(err, session.ErrFenced) {
		t.Errorf("error %v, want ErrFenced", err)
	}
	// Another successor was faster.
	if err := os.WriteFile(file+"~1", []byte("another's"), 0o600); err != nil {
		t.Fatal(err)
	}
	term.Held = func() error { return nil }
	device := &Device{devices: d, term: term}
	if _, err := device.takeOver(t.Context(), file); !errors.Is(err, session.ErrUnavailable) {
		t.Errorf("error %v, want ErrUnavailable", err)
	}
	if text, err := os.ReadFile(file + "~1"); err != nil || string(text) != "another's" {
		t.Errorf("the other's file is %q %v", text, err)
	}
	if copies, _ := filepath.Glob(file + copyMark + "*"); len(copies) > 0 {
		t.Errorf("copies are left: %v", copies)
	}
}

func TestTheNewestNameCounts(t *testing.T) {
	t.Parallel()
	files := fstest.MapFS{}
	for _, name := range []string{"a.db", "a.db~1", "a.db~10", "a.db~9", "a.db~11-wal", "a.db~x", "a.db~-3", "b.db", "b.db~copy-7", "sub/a.db~2", "c~1"} {
		files[name] = &fstest.MapFile{}
	}
	for name, want := range map[string]string{"a.db": "a.db~10", "b.db": "b.db", "sub/a.db": "sub/a.db~2", "none/x": "none/x", "c": "c~1", "c~1": "c~1"} {
		if got := newest(files, filepath.FromSlash(name)); got != filepath.FromSlash(want) {
			t.Errorf("newest of %s is %s, want %s", name, got, want)
		}
	}
	for name, want := range map[string]string{"/d/a.db": "/d/a.db~1", "/d/a.db~1": "/d/a.db~2", "/d/a.db~10": "/d/a.db~11", "/d~4/a": "/d~4/a~1", "/d/a~x": "/d/a~x~1"} {
		if got := successor(name); got != want {
			t.Errorf("successor of %s is %s, want %s", name, got, want)
		}
	}
}
