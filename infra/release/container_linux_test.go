package release

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"syscall"
	"testing"

	"github.com/wafleet/wafleet/shared/e2e/deployment"
)

// container is what an engine is told to run.
type container struct {
	Root     string // directory of the root file system; it cannot be written to
	Dir      string
	UID, GID int
	Args     []string
	Env      []string
	Volumes  map[string]string // directory here, by place there
}

// envContainer makes the test binary an engine's last step: the process that becomes
// the container's first one.
const envContainer = "WAFLEET_RELEASE_TEST_CONTAINER"

// becomeContainer ends in the program of a container where this process was started
// as one.
func becomeContainer() {
	text := os.Getenv(envContainer)
	if text == "" {
		return
	}
	var c container
	err := json.Unmarshal([]byte(text), &c)
	if err == nil {
		err = c.enter()
	}
	fmt.Fprintln(os.Stderr, "container:", err)
	os.Exit(125)
}

// enter sees to the mounts, gives up root for good, and becomes the program. It is
// in namespaces of its own already.
func (c container) enter() error {
	runtime.LockOSThread() // no_new_privs belongs to a thread
	const readOnly = syscall.MS_BIND | syscall.MS_REMOUNT | syscall.MS_RDONLY | syscall.MS_NOSUID | syscall.MS_NODEV
	mounts := []error{
		syscall.Mount("", "/", "", syscall.MS_REC|syscall.MS_PRIVATE, ""),
		syscall.Mount(c.Root, c.Root, "", syscall.MS_BIND, ""),
		syscall.Mount("proc", filepath.Join(c.Root, "proc"), "proc", 0, ""),
	}
	for _, place := range slices.Sorted(maps.Keys(c.Volumes)) {
		mounts = append(mounts, syscall.Mount(c.Volumes[place], filepath.Join(c.Root, place), "", syscall.MS_BIND, ""))
	}
	mounts = append(mounts, syscall.Mount("", c.Root, "", readOnly, ""))
	if err := errors.Join(mounts...); err != nil {
		return fmt.Errorf("mount: %w", err)
	}
	if err := errors.Join(syscall.Chroot(c.Root), syscall.Chdir(c.Dir)); err != nil {
		return fmt.Errorf("change the root: %w", err)
	}
	const setNoNewPrivs = 38 // prctl(2)
	if _, _, errno := syscall.RawSyscall(syscall.SYS_PRCTL, setNoNewPrivs, 1, 0); errno != 0 {
		return fmt.Errorf("no_new_privs: %w", errno)
	}
	if err := errors.Join(syscall.Setgroups(nil), syscall.Setgid(c.GID), syscall.Setuid(c.UID)); err != nil {
		return fmt.Errorf("become the user: %w", err)
	}
	return fmt.Errorf("run %s: %w", c.Args[0], syscall.Exec(c.Args[0], c.Args, c.Env))
}

const newNamespaces = syscall.CLONE_NEWNS | syscall.CLONE_NEWPID | syscall.CLONE_NEWIPC | syscall.CLONE_NEWUTS

// command is the container as a process of this machine, with its network.
func (c container) command(t testing.TB) *exec.Cmd {
	t.Helper()
	text, err := json.Marshal(c)
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(os.Args[0])
	cmd.Env = []string{envContainer + "=" + string(text)}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Cloneflags: newNamespaces}
	return cmd
}

// needContainers skips where the kernel does not let this process make one.
func needContainers(t *testing.T) {
	t.Helper()
	if os.Getuid() != 0 {
		t.Skip("SKIPPED: only root can run the image's programs on a root of their own; go test as root to see them run")
	}
	probe := exec.Command("true")
	probe.SysProcAttr = &syscall.SysProcAttr{Cloneflags: newNamespaces}
	if err := probe.Run(); err != nil {
		t.Skipf("SKIPPED: this machine does not allow namespaces (%v)", err)
	}
}

// container is a run of an image as the image says; args replace its command, and
// its entrypoint too.
func (i image) container(t testing.TB, env []string, args ...string) container {
	t.Helper()
	c := container{Root: writable(t, i.dir), Dir: i.workdir, Args: args}
	if len(args) == 0 {
		c.Args = append(slices.Clone(i.entrypoint), i.cmd...)
	}
	if _, err := fmt.Sscanf(i.user, "%d:%d", &c.UID, &c.GID); err != nil {
		t.Fatalf("the user %q: %v", i.user, err)
	}
	for name, value := range i.env {
		c.Env = append(c.Env, name+"="+value)
	}
	c.Env = append(c.Env, env...)
	c.mountAt(t, "/proc")
	return c
}

// writable is a container's own copy of an image, made of links: an engine makes
// places in it for what it mounts.
func writable(t testing.TB, dir string) (copied string) {
	t.Helper()
	copied, err := os.MkdirTemp(workshop, "container-")
	if err != nil {
		t.Fatal(err)
	}
	if out, err := exec.CommandContext(t.Context(), "cp", "-a", "--link", dir+"/.", copied).CombinedOutput(); err != nil {
		t.Fatalf("copy the image: %v\n%s", err, out)
	}
	return copied
}

func (c container) mountAt(t testing.TB, place string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Join(c.Root, place), 0o755); err != nil {
		t.Fatal(err)
	}
}

// with mounts a directory of this machine. One that is empty becomes a copy of what
// the image has there, owner included, as a volume does that an engine has just made.
func (c container) with(t testing.TB, dir, place string) container {
	t.Helper()
	inside := filepath.Join(c.Root, place)
	info, err := os.Stat(inside)
	files, listErr := os.ReadDir(dir)
	if listErr != nil {
		t.Fatal(listErr)
	}
	if err == nil && len(files) == 0 {
		owner := info.Sys().(*syscall.Stat_t)
		if err := os.Chown(dir, int(owner.Uid), int(owner.Gid)); err != nil {
			t.Fatal(err)
		}
	}
	c.mountAt(t, place)
	c.Volumes = maps.Clone(c.Volumes)
	if c.Volumes == nil {
		c.Volumes = map[string]string{}
	}
	c.Volumes[place] = dir
	return c
}

// once runs a container to its end.
func (c container) once(t testing.TB) (out string, code int) {
	t.Helper()
	p := deployment.Start(t, c.command(t))
	code = p.Wait()
	return p.Log(), code
}

func ownerOf(info fs.FileInfo) string {
	stat := info.Sys().(*syscall.Stat_t)
	return fmt.Sprintf("%d:%d", stat.Uid, stat.Gid)
}
