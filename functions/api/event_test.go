package main

import (
	"net/url"
	"testing"
)

func TestParsablePath(t *testing.T) {
	t.Parallel()
	for raw, want := range map[string]string{
		"/api/sessions/a": "/api/sessions/a", "": "/", "api": "/api", "//api//x/": "//api//x/", "/a%2Fb": "/a%2Fb",
		"/a b": "/a b", "/50%": "/50%25", "/a?b#c": "/a%3Fb%23c", "/\x01": "/%01", "/%zz?": "/%25zz%3F",
	} {
		if got := parsablePath(raw); got != want {
			t.Errorf("%q becomes %q, want %q", raw, got, want)
		}
	}
}

func FuzzParsable(f *testing.F) {
	f.Add("/api/x y", "a=1&b=%zz")
	f.Add("//\x7f?", "\x00")
	f.Add("/%", "#x")
	f.Fuzz(func(t *testing.T, path, query string) {
		if _, err := url.Parse("https://api.test" + parsablePath(path) + "?" + parsableQuery(query)); err != nil {
			t.Fatal(err)
		}
	})
}
