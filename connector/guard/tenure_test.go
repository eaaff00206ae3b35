package main

import (
	"bufio"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/wafleet/wafleet/shared/session"
)

// A guard that was killed leaves its work to the next one with the same file.
func TestTheNextGuardEndsTheLeaseOfAKilledOne(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	path := filepath.Join(t.TempDir(), "run", "connector-1")
	killed, last, err := openTenure(path)
	if err != nil || last != "" {
		t.Fatal(last, err)
	}
	if err := killed.hold(w.holder); err != nil {
		t.Fatal(err)
	}
	if _, _, err := openTenure(path); err == nil || !strings.Contains(err.Error(), "still lives") {
		t.Errorf("error = %v", err)
	}
	killed.close()

	next := w.guard("killed")
	next.tenure = path
	next.cmd.Env = append(next.cmd.Env, envRole+"=relets")
	if code, err := next.run(nil); code != 3 || err != nil {
		t.Errorf("%d, %v", code, err)
	}
	if w.alive(w.holder) {
		t.Error("the lease lives")
	}
	w.logged(`"connector":"second"`, true) // the next one's own
	again, last, err := openTenure(path)
	if err != nil || last != "" {
		t.Errorf("after an orderly end the file names %q, %v", last, err)
	}
	again.close()
}

// While the child lives its tenure does, whatever became of the guard.
func TestALivingChildKeepsItsTenure(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "connector-1")
	held, _, err := openTenure(path)
	if err != nil {
		t.Fatal(err)
	}
	cmd := childOf("ignores:host-1")
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	leased := make(chan session.ConnectorID, 10)
	w, err := startWard(cmd, held, func(id session.ConnectorID) { leased <- id })
	if err != nil {
		t.Fatal(err)
	}
	held.close()
	if _, err := bufio.NewReader(out).ReadString('\n'); err != nil {
		t.Error(err)
	}
	if id := <-leased; id != "host-1" {
		t.Errorf("leased by %q", id)
	}
	if _, _, err := openTenure(path); err == nil || !strings.Contains(err.Error(), "still lives") {
		t.Errorf("error = %v", err)
	}
	w.process.Signal(syscall.SIGKILL)
	if d := w.death(); d.code != 128+9 || d.connector != "host-1" {
		t.Errorf("%+v", d)
	}
	free, _, err := openTenure(path)
	if err != nil {
		t.Fatal(err)
	}
	free.close()
}
