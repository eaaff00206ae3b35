package main

import (
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/wafleet/wafleet/shared/apikey"
)

func openData(t *testing.T) *dataDir {
	t.Helper()
	data, err := openDataDir(filepath.Join(t.TempDir(), "data"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = data.close() })
	return data
}

func TestSecondRunIsRefused(t *testing.T) {
	t.Parallel()
	first := openData(t)
	_, err := openDataDir(first.path)
	want := "already running: process " + strconv.Itoa(os.Getpid()) + " uses the data in " + first.path + "; stop it first"
	if err == nil || err.Error() != want {
		t.Fatalf("second run: %v\nwant %s", err, want)
	}
	if err := first.close(); err != nil {
		t.Fatal(err)
	}
	second, err := openDataDir(first.path)
	if err != nil {
		t.Fatalf("after the first has ended: %v", err)
	}
	if err := second.close(); err != nil {
		t.Error(err)
	}
}

func TestTakenPortIsNamed(t *testing.T) {
	t.Parallel()
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	port := uint16(taken.Addr().(*net.TCPAddr).Port)
	for name, test := range map[string]struct {
		set  settings
		want string // variable; empty: no error
	}{
		"api":                   {settings{Port: port, WhatsApp: "sim"}, "PORT"},
		"control":               {settings{ControlPort: port, WhatsApp: "sim"}, "SIM_CONTROL_PORT"},
		"control, perhaps":      {settings{ControlPort: port, WhatsApp: "auto"}, "SIM_CONTROL_PORT"},
		"no simulator":          {settings{ControlPort: port, WhatsApp: "real"}, ""},
		"no simulator: another": {settings{ControlPort: port, WhatsApp: "auto", DialAddr: "h:1"}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			open, err := openPorts(test.set) // port 0 is any free one here
			defer open.close()
			switch {
			case test.want == "" && err != nil:
				t.Error(err)
			case test.want != "" && (err == nil || !strings.HasSuffix(err.Error(), "choose another one with "+test.want)):
				t.Errorf("error = %v", err)
			}
		})
	}
}

func TestKeyIsMadeOnceAndKeptPrivate(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "apikey")
	first, err := keyOf("", file)
	if err != nil || !strings.HasPrefix(first, "wf_") {
		t.Fatalf("key %q, %v", first, err)
	}
	if _, _, err := apikey.Parse(first); err != nil {
		t.Error(err)
	}
	checkPrivate(t, file)
	if err := os.Chmod(file, 0o644); err != nil {
		t.Fatal(err)
	}
	if second, err := keyOf("", file); second != first || err != nil {
		t.Errorf("second run: another key, or %v", err)
	}
	checkPrivate(t, file)
	if given, err := keyOf("k", file); given != "k" || err != nil {
		t.Errorf("given key: %q, %v", given, err)
	}
	if kept, err := readKey(file); kept != first || err != nil {
		t.Errorf("a given key replaced the kept one: %v", err)
	}
}

func checkPrivate(t *testing.T, file string) {
	t.Helper()
	info, err := os.Stat(file)
	if err != nil || info.Mode().Perm() != fs.FileMode(0o600) {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
}

func TestBrokenKeyFile(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "apikey")
	if err := os.WriteFile(file, []byte("not a key\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := keyOf("", file); err == nil || !strings.Contains(err.Error(), file) || strings.Contains(err.Error(), "not a key") {
		t.Errorf("error = %v", err)
	}
}
