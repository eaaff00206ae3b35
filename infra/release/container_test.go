//go:build linux

package release

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/wafleet/wafleet/shared/e2e/deployment"
	"github.com/wafleet/wafleet/shared/pgtest"
	"github.com/wafleet/wafleet/shared/wasim"
)

// TestTheImagesRun runs both images as an engine would, a connector's as process 1
// below nothing, and links a phone: on a root that cannot be written to, as a user
// that is nobody, with /app/data as the only place for files.
func TestTheImagesRun(t *testing.T) {
	t.Parallel()
	needContainers(t)
	all := built(t, native)
	control, fleet := all.get(t, "control"), all.get(t, "connector")
	database := pgtest.New(t, nil)
	url := "DATABASE_URL=" + database
	sim := &wasim.Server{FewPreKeys: true}
	if err := sim.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if n := sim.Stats().MaxSocketsPerDevice; n > 1 {
			t.Errorf("a device was logged in %d times at once", n)
		}
		sim.Close()
	})
	const place = "/app/data"
	data := newVolume(t)

	if out, code := control.container(t, []string{url}, "/migrate").once(t); code != 0 {
		t.Fatalf("migrate: %d\n%s", code, out)
	}
	api := deployment.Start(t, control.container(t, []string{url, "SQLITE_AVAILABLE=true"}, "/api", "-listen", "127.0.0.1:0").command(t))
	client := deployment.API{TB: t, URL: "http://" + api.Await(`"msg":"listening","address":"([^"]+)"`)}
	client.Key = newKey(t, func(args ...string) container {
		return control.container(t, []string{url}, append([]string{"/wafleet"}, args...)...)
	})
	if got := client.Want("GET", "/api/version", "")["version"]; got != stamped {
		t.Errorf("the API says that it is version %v", got)
	}

	env := []string{
		url, "DATA_DIR=" + place, "LISTEN=" + freeAddress(t),
		"WHATSAPP_DIAL_ADDR=" + sim.DialAddr(), "WHATSAPP_TLS_CA=" + place + "/ca.pem", "WHATSAPP_NOISE_ROOT_KEY=" + sim.RootKeyHex(),
	}
	connector := fleet.container(t, env).with(t, data, place)
	writeFile(t, filepath.Join(data, "ca.pem"), sim.CAPEM())
	health := fleet.container(t, env, fleet.health...)
	if out, code := health.once(t); code == 0 {
		t.Errorf("nothing runs, and is healthy: %s", out)
	}
	first := deployment.Start(t, connector.command(t))
	first.Await(`"msg":"connector registered".*"version":"` + stamped)
	checkProcesses(t, first)
	for name, config := range map[string]string{"in-a-file": `{}`, "in-postgres": `{"store":{"dialect":"postgres"}}`} {
		client.Link(name, config, func(code string) error {
			_, err := sim.Scan("551199999000"+strconv.Itoa(len(name)), code)
			return err
		})
	}
	if out, code := health.once(t); code != 0 {
		t.Errorf("the health check ends with %d: %s", code, out)
	}

	// The guard is there when its child is killed: the next one need not wait for a lease to pass.
	killChild(t, first)
	if code := first.Wait(); code != 128+9 {
		t.Errorf("the guard of a connector that was killed ends with %d", code)
	}
	first.Await("the connector is gone; its lease is ended")
	second := deployment.Start(t, connector.command(t))
	client.Await("in-a-file", "WORKING")
	client.Await("in-postgres", "WORKING")
	second.Await(`(?s)"session claimed".*"session claimed"`)

	// A drain: SIGTERM to process 1, exit 0.
	if code := second.End(); code != 0 {
		t.Errorf("a drain ends with %d", code)
	}
	if text := second.Log(); !strings.Contains(text, `"msg":"session released"`) {
		t.Errorf("nothing was released:\n%s", text)
	}
	if code := api.End(); code != 0 {
		t.Errorf("the API ends with %d", code)
	}
}

// newVolume is a directory that another user than root can reach.
func newVolume(t *testing.T) (dir string) {
	t.Helper()
	dir, err := os.MkdirTemp(workshop, "volume-")
	if err != nil {
		t.Fatal(err)
	}
	return dir
}

func writeFile(t *testing.T, name string, text []byte) {
	t.Helper()
	if err := os.WriteFile(name, text, 0o644); err != nil { // #nosec G306 -- a public certificate
		t.Fatal(err)
	}
}

// newKey makes a tenant and a key of it with a container of the operator's command.
func newKey(t *testing.T, wafleet func(args ...string) container) (key string) {
	t.Helper()
	for _, line := range []string{"create-tenant --tenant acme", "create-key --tenant acme"} {
		out, code := wafleet(strings.Fields(line)...).once(t)
		if code != 0 {
			t.Fatalf("%s: %d\n%s", line, code, out)
		}
		key = out
	}
	for word := range strings.FieldsSeq(key) {
		if strings.HasPrefix(word, "wf_") {
			return word
		}
	}
	t.Fatal("no key was shown")
	return ""
}

// freeAddress is one of this machine that nobody listens on.
func freeAddress(t *testing.T) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	return listener.Addr().String()
}

// checkProcesses looks at what the kernel says of a container's first process and
// its child.
func checkProcesses(t *testing.T, first *deployment.Program) {
	t.Helper()
	for _, pid := range append(first.Children(), first.Pid()) {
		text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
		if err != nil {
			t.Fatal(err)
		}
		for _, want := range []string{"Uid:\t65532\t65532\t65532\t65532", "CapEff:\t0000000000000000", "CapPrm:\t0000000000000000", "NoNewPrivs:\t1"} {
			if !strings.Contains(string(text), want+"\n") {
				t.Errorf("process %d is not %q:\n%s", pid, want, text)
			}
		}
	}
	mounts, err := os.ReadFile(fmt.Sprintf("/proc/%d/mounts", first.Pid()))
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(mounts)) {
		if fields := strings.Fields(line); fields[1] == "/" && !strings.HasPrefix(fields[3], "ro,") {
			t.Errorf("the root can be written to: %s", line)
		}
	}
}

// killChild kills the one child of a guard.
func killChild(t *testing.T, guard *deployment.Program) {
	t.Helper()
	children := guard.Children()
	if len(children) != 1 {
		t.Fatalf("the guard has the children %v", children)
	}
	if err := syscall.Kill(children[0], syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
}
