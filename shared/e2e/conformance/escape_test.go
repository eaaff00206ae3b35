package conformance

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestPathsThatLeaveTheDirectoryAreRefused: by every endpoint that takes a
// config, at both doors.
func TestPathsThatLeaveTheDirectoryAreRefused(t *testing.T) {
	t.Parallel()
	s := newSystem(t)
	s.owner(request{method: "POST", path: "/api/sessions", body: `{"name":"mine","start":false}`})
	addresses := []string{
		"/etc/passwd", "../x.db", "/app/data/../x.db", "/app/data/a/../../x.db", "/app/data/..", "/app/data/", "/app/data",
		"/app/database/x.db", "//app/data/x.db", "/app/data//x.db", "/app/data/./x.db", "/app/data/.hidden", "file:/etc/passwd",
		"/app/data/x.db?mode=ro", "/app/data/x\x00.db", "/app/data/x\ny", `/app/data/..\x`, "/app/data/%2e%2e/x.db", "/app/data/~1", "x y.db",
		"/app/data/" + strings.Repeat("d/", 20) + "x.db", "/app/data/" + strings.Repeat("x", 300),
	}
	requests := []request{
		{method: "POST", path: "/api/sessions/new/start"},
		{method: "POST", path: "/api/sessions/mine/start"},
		{method: "POST", path: "/api/sessions/mine/restart"},
		{method: "PUT", path: "/api/sessions/mine"},
		{method: "POST", path: "/api/sessions"},
	}
	s.atBothDoors(t, func(t *testing.T, d *door) {
		for _, address := range addresses {
			quoted, err := json.Marshal(address)
			if err != nil {
				t.Fatal(err)
			}
			for _, r := range requests {
				r.key, r.body = s.tenant.key, fmt.Sprintf(`{"config":{"store":{"dialect":"sqlite3","address":%s}}}`, quoted)
				got := d.ask(r)
				if got.status != 400 || !strings.Contains(got.text("message"), "config.store.address") {
					t.Errorf("%s %s with %q: %d %s", r.method, r.path, address, got.status, got.body)
				}
			}
		}
	})
	if n := s.count(`SELECT count(*) FROM session`); n != 1 {
		t.Errorf("%d sessions, want the one that was there", n)
	}
}

// TestPlantedLinksAreNotFollowed: somebody who may write into a session's
// directory leads neither the store nor the deletion out of it.
func TestPlantedLinksAreNotFollowed(t *testing.T) {
	t.Parallel()
	s := newSystem(t)
	s.connector()
	for name, plant := range map[string]func(own, outside string) error{
		"file": func(own, outside string) error {
			return os.Symlink(filepath.Join(outside, "whatsmeow.db"), filepath.Join(own, "deep.db"))
		},
		"directory": func(own, outside string) error { return os.Symlink(outside, filepath.Join(own, "deep")) },
		"relative":  func(own, _ string) error { return os.Symlink("../../../outside", filepath.Join(own, "deep")) },
		"itself": func(own, outside string) error {
			if err := os.Remove(own); err != nil {
				return err
			}
			return os.Symlink(outside, own)
		},
	} {
		t.Run(name, func(t *testing.T) {
			address := map[string]string{"file": "deep.db", "directory": "deep/whatsmeow.db", "relative": "deep/whatsmeow.db", "itself": "whatsmeow.db"}[name]
			outside := filepath.Join(filepath.Dir(s.data), "outside")
			if name != "relative" {
				outside = t.TempDir()
			}
			kept := filepath.Join(outside, "kept.txt")
			if err := os.MkdirAll(outside, 0o700); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(kept, []byte("kept"), 0o600); err != nil {
				t.Fatal(err)
			}
			f := &fixture{in: stopped, name: name, dialect: "sqlite3"}
			s.owner(request{method: "POST", path: "/api/sessions", body: fmt.Sprintf(
				`{"name":%q,"start":false,"config":{"store":{"dialect":"sqlite3","address":"/app/data/%s"}}}`, name, address)})
			s.identify(f)
			own := filepath.Join(s.data, string(s.tenant.id), f.id)
			if err := os.MkdirAll(own, 0o700); err != nil {
				t.Fatal(err)
			}
			if err := plant(own, outside); err != nil {
				t.Fatal(err)
			}
			s.owner(request{method: "POST", path: "/api/sessions/" + name + "/start"})
			if !s.eventually(func() bool {
				reason, _ := s.owner(request{path: "/api/sessions/" + name}).fields["statusReason"].(map[string]any)
				return reason["code"] == "STORE_ERROR"
			}) {
				t.Error("the store was opened")
			}
			s.owner(request{method: "DELETE", path: "/api/sessions/" + name})
			if !s.eventually(func() bool { return s.count(`SELECT count(*) FROM session WHERE id = $1`, f.id) == 0 }) {
				t.Error("the deleted session is not gone")
			}
			if _, err := os.Lstat(own); !os.IsNotExist(err) {
				t.Errorf("the session's directory is left: %v", err)
			}
			entries, err := os.ReadDir(outside)
			if text, read := os.ReadFile(kept); err != nil || len(entries) != 1 || string(text) != "kept" || read != nil {
				t.Errorf("outside there are %v, %v; the file says %q, %v", entries, err, text, read)
			}
		})
	}
}
