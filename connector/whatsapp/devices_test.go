package whatsapp

import (
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/wafleet/wafleet/shared/session"
)

// disk makes devices that keep files in a directory and connect to nothing.
func disk(t *testing.T, dir string) *Devices {
	t.Helper()
	d, err := New(Config{DataDir: dir}, nil, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func fileTerm(tenant session.TenantID, id session.ID, address string) Term {
	config := session.DefaultConfig(session.Defaults{})
	config.Store.Address = address
	return Term{ID: id, Tenant: tenant, Config: config, Held: func() error { return nil }, Log: slog.New(slog.DiscardHandler)}
}

func TestEverySessionHasItsOwnFile(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "not made yet", "a b%20?x=1#;&é")
	d := disk(t, dir)
	for _, id := range []session.ID{"one", "two"} {
		device, err := d.Open(t.Context(), fileTerm("tenant", id, session.DefaultAddress))
		if err != nil {
			t.Fatal(err)
		}
		defer device.Close()
		if _, err := device.file.ExecContext(t.Context(), "CREATE TABLE mine (x)"); err != nil {
			t.Errorf("%s: %v", id, err)
		}
	}
	deep, err := d.Open(t.Context(), fileTerm("tenant", "two", "a/b/c.db"))
	if err != nil {
		t.Fatal(err)
	}
	defer deep.Close()

	files := 0
	err = filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := entry.Info()
		if err != nil {
			return err
		}
		want := fs.FileMode(0o600)
		if entry.IsDir() {
			want = 0o700
		} else {
			files++
		}
		if info.Mode().Perm() != want {
			t.Errorf("%s has mode %v, want %v", path, info.Mode().Perm(), want)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"tenant/one/whatsmeow.db", "tenant/two/whatsmeow.db", "tenant/two/a/b/c.db"} {
		if _, err := os.Stat(filepath.Join(dir, filepath.FromSlash(name))); err != nil {
			t.Error(err)
		}
	}
	if files < 3 {
		t.Errorf("%d files", files)
	}
	above, err := os.ReadDir(filepath.Dir(dir))
	if err != nil || len(above) != 1 {
		t.Errorf("beside DATA_DIR: %v, %v", above, err)
	}
}

func TestLinksThatLeaveTheDataDirectoryAreRefused(t *testing.T) {
	t.Parallel()
	for name, link := range map[string]struct{ at, address string }{
		"file":                  {"tenant/id/whatsmeow.db", "whatsmeow.db"},
		"directory":             {"tenant/id/sub", "sub/whatsmeow.db"},
		"deep directory":        {"tenant/id/a/b", "a/b/c/whatsmeow.db"},
		"the session's own one": {"tenant/id", "whatsmeow.db"},
		"the tenant's own one":  {"tenant", "whatsmeow.db"},
	} {
		for _, relative := range []bool{false, true} {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				dir, outside := t.TempDir(), t.TempDir()
				at := filepath.Join(dir, filepath.FromSlash(link.at))
				if err := os.MkdirAll(filepath.Dir(at), 0o700); err != nil {
					t.Fatal(err)
				}
				target := outside
				if name == "file" {
					target = filepath.Join(outside, "x")
				}
				if relative {
					var err error
					if target, err = filepath.Rel(filepath.Dir(at), target); err != nil {
						t.Fatal(err)
					}
				}
				if err := os.Symlink(target, at); err != nil {
					t.Fatal(err)
				}
				_, err := disk(t, dir).Open(t.Context(), fileTerm("tenant", "id", link.address))
				if err == nil {
					t.Error("opened")
				}
				if left, err := os.ReadDir(outside); err != nil || len(left) > 0 {
					t.Errorf("outside: %v, %v", left, err)
				}
			})
		}
	}
}

func TestOpenSaysWhatIsWrong(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "file"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	bad := func(change func(*Term)) Term {
		term := fileTerm("tenant", "id", session.DefaultAddress)
		change(&term)
		return term
	}
	same := func(*Term) {}
	for name, tt := range map[string]struct {
		dir  string
		term Term
		want string
	}{
		"no directory":         {"", bad(same), "DATA_DIR"},
		"directory is a file":  {filepath.Join(dir, "file"), bad(same), "DATA_DIR"},
		"escaping address":     {dir, bad(func(t *Term) { t.Config.Store.Address = "../x" }), "config.store.address must"},
		"unknown dialect":      {dir, bad(func(t *Term) { t.Config.Store.Dialect = "mysql" }), `config.store.dialect "mysql"`},
		"tenant that climbs":   {dir, bad(func(t *Term) { t.Tenant = "../.." }), "directory"},
		"a directory as file":  {dir, bad(func(t *Term) { t.Tenant, t.ID, t.Config.Store.Address = ".", ".", "d" }), "config.store.address"},
		"not a database there": {dir, bad(func(t *Term) { t.Tenant, t.ID, t.Config.Store.Address = ".", ".", "text" }), "open the device store"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for _, prepare := range []error{os.MkdirAll(filepath.Join(dir, "d"), 0o700), os.WriteFile(filepath.Join(dir, "text"), []byte(strings.Repeat("text", 300)), 0o600)} {
				if prepare != nil {
					t.Fatal(prepare)
				}
			}
			_, err := disk(t, tt.dir).Open(t.Context(), tt.term)
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("%v, want %s", err, tt.want)
			}
		})
	}
}

func TestParseEndpoint(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	ca, text := filepath.Join(t.TempDir(), "ca.pem"), filepath.Join(t.TempDir(), "text.pem")
	if err := os.WriteFile(ca, r.sim.CAPEM(), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(text, []byte("text"), 0o600); err != nil {
		t.Fatal(err)
	}
	key := r.sim.RootKeyHex()
	if e, err := ParseEndpoint("", "", ""); err != nil || e.Overridden() {
		t.Errorf("%+v, %v", e, err)
	}
	e, err := ParseEndpoint("localhost:1", ca, key)
	if err != nil || !e.Overridden() || e.DialAddr != "localhost:1" || *e.RootKey != r.sim.RootKey() || e.Roots == nil {
		t.Errorf("%+v, %v", e, err)
	}
	for name, tt := range map[string]struct{ addr, ca, key, want string }{
		"address alone":     {"h:1", "", "", "set together"},
		"no address":        {"", ca, key, "set together"},
		"no CA":             {"h:1", "", key, "set together"},
		"no key":            {"h:1", ca, "", "set together"},
		"no port":           {"h", ca, key, "WHATSAPP_DIAL_ADDR must be host:port"},
		"no file":           {"h:1", ca + "x", key, "WHATSAPP_TLS_CA"},
		"no certificate":    {"h:1", text, key, "must be a PEM file"},
		"short key":         {"h:1", ca, key[2:], "64 hexadecimal digits"},
		"no hexadecimal":    {"h:1", ca, strings.Repeat("x", 64), "64 hexadecimal digits"},
		"everything is bad": {"h", text, "x", "PEM file with a certificate\nWHATSAPP_NOISE_ROOT_KEY"},
	} {
		if _, err := ParseEndpoint(tt.addr, tt.ca, tt.key); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v, want %s", name, err, tt.want)
		}
	}
}
