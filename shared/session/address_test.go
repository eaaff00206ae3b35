package session_test

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/wafleet/wafleet/shared/session"
)

func TestDataPath(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		session.DefaultAddress:                "whatsmeow.db",
		"whatsmeow.db":                        "whatsmeow.db",
		"/app/data/a/b/c.db":                  "a/b/c.db",
		"a/b/c.db":                            "a/b/c.db",
		"app/data/x.db":                       "app/data/x.db",
		"/app/data/my-device_2.v1.db":         "my-device_2.v1.db",
		"/app/data/app/data/x":                "app/data/x",
		"a..b":                                "a..b",
		"a...":                                "a...",
		"-x":                                  "-x",
		"1/2/3/4/5/6/7/8":                     "1/2/3/4/5/6/7/8",
		strings.Repeat("x", 100):              strings.Repeat("x", 100),
		"/app/data/" + strings.Repeat("x", 9): "xxxxxxxxx",
	} {
		if got, err := session.DataPath(in); err != nil || got != want {
			t.Errorf("%q: %q, %v; want %q", in, got, err, want)
		}
	}
	for _, bad := range []string{
		// empty parts
		"", "/", "//", "/app/data/", "/app/data", "/app/data//x", "a//b", "a/", "/app/data/a/", "/app//data/x",
		// up and here
		"..", ".", "./x", "../x", "a/..", "a/../b", "a/../../b", "/app/data/..", "/app/data/../x", "/app/data/../../etc/passwd",
		"/app/data/./x", "/app/data/a/../../b", "/app/data/....//x", "/app/data/...", "/app/data/.hidden", ".hidden", "a/.git", "..a", ".db",
		// absolute
		"/etc/passwd", "/app/database/x", "/app/datax", "/app/x", "/App/Data/x", "//app/data/x", "/x", "~/x", "/app/data/~",
		// bytes that mean something
		"a\x00", "a\x00.db", "\x00", "/app/data/x\x00/../../y", "a\nb", "a\n", "\na", "a\rb", "a\tb", "a b", " a", "a ", "a\x7f", "a\x1b[2J",
		// other separators and escapes
		`..\x`, `a\b`, `\\host\share`, `C:\x`, "C:/x", "C:x", "%2e%2e/x", "%2e%2e%2fx", "a%00", "a%2fb", "%", "..%2f",
		// database URLs
		"file:x", "file:x.db?mode=memory", "file:///etc/passwd", "file://localhost/x", "x.db?_pragma=foreign_keys(0)", "x?vfs=unix-none",
		"x.db#y", ":memory:", "x;y", "x&y", "x=y", "postgres://u:p@h/d", "sqlite3://x", "$HOME", "${HOME}", "`id`", "$(id)", "a|b", "a*", "a'b", `a"b`,
		// look-alikes
		"․․/x", "‥/x", "…", "．．/x", "a／b", "a∕b", "a⁄b", "a＼b", "a\u200b", "\u202eab", "ä", "а", "a\u0301", "\ufeffx", "x\u00a0",
		// not UTF-8, overlong slash and dot
		"\xff", "a\xc0\xafb", "\xc0\xae\xc0\xae/x",
		// too long, too deep
		strings.Repeat("x", 101), strings.Repeat("x", 256), strings.Repeat("a/", 8) + "b", strings.Repeat("../", 90), strings.Repeat("x/", 200) + "x",
		"/app/data/" + strings.Repeat(strings.Repeat("x", 99)+"/", 3),
	} {
		if got, err := session.DataPath(bad); err == nil || got != "" {
			t.Errorf("%q became %q", bad, got)
		} else if !strings.HasPrefix(err.Error(), "must ") {
			t.Errorf("%q: %q does not complete a sentence", bad, err)
		}
	}
}

func FuzzDataPath(f *testing.F) {
	for _, seed := range []string{session.DefaultAddress, "a/../b", "/app/data/../x", "%2e%2e/x", "a\x00", `a\b`, "..", "file:x?y", "a//b", "/app/data//etc"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, in string) {
		got, err := session.DataPath(in)
		if err != nil {
			if got != "" {
				t.Fatalf("%q with %v", got, err)
			}
			return
		}
		if !filepath.IsLocal(got) || filepath.Clean(got) != got || strings.ContainsAny(got, "\x00\\:?#%") {
			t.Fatalf("%q became %q", in, got)
		}
		for segment := range strings.SplitSeq(got, "/") {
			if segment == "" || segment[0] == '.' || len(segment) > 100 {
				t.Fatalf("%q became %q", in, got)
			}
		}
		if again, err := session.DataPath("/app/data/" + got); len(in) < 200 && (err != nil || again != got) {
			t.Fatalf("%q became %q, %v", got, again, err)
		}
	})
}
