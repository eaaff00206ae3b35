package main

import (
	"bytes"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/wafleet/wafleet/shared/secret"
	"github.com/wafleet/wafleet/shared/secret/fakekms"
)

func TestRotateSecrets(t *testing.T) {
	t.Parallel()
	far := fakekms.New()
	server := httptest.NewServer(far)
	t.Cleanup(server.Close)
	key := far.NewKey(t)
	s := newTerminal(t)
	s.fails(1, "SECRETS_KMS_KEY is missing", "rotate-secrets")
	s.env = append(s.env, fakekms.Environment(server.URL)...)
	s.env = append(s.env, "SECRETS_KMS_KEY="+key.ARN)
	for range 2 { // the first makes one, the second another
		if out, notices := s.ok("rotate-secrets"); !strings.Contains(out, "fresh data key") || !strings.Contains(notices, "take it over") {
			t.Errorf("says %q and %q", out, notices)
		}
	}
	if made := key.Made.Load(); made != 2 {
		t.Errorf("%d data keys were encrypted, want 2", made)
	}
	key.Breaks(fakekms.Refuses("AccessDeniedException"))
	s.fails(1, "AccessDenied", "rotate-secrets")
	s.env = append(s.env, "SECRETS_KMS_KEY=alias/x")
	s.fails(2, "SECRETS_KMS_KEY", "rotate-secrets")
}

// A key file is made once: made again, what it sealed could not be read any more.
func TestCreateSecretsKey(t *testing.T) {
	t.Parallel()
	s := newTerminal(t)
	file := filepath.Join(t.TempDir(), "key.json")
	if out, notices := s.ok("create-secrets-key", "--file", file); out != file+"\n" || !strings.Contains(notices, "Back this file up") {
		t.Errorf("says %q and %q", out, notices)
	}
	first, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := secret.OpenFile(file); err != nil {
		t.Error(err)
	}
	if out, _ := s.ok("create-secrets-key", "--file", file); !strings.Contains(out, "stays as it is") || strings.Contains(out, string(first)) {
		t.Errorf("says %q", out)
	}
	if again, err := os.ReadFile(file); err != nil || !bytes.Equal(again, first) {
		t.Errorf("the file has changed: %v", err)
	}
	if err := os.WriteFile(file, []byte("{}"), 0o600); err != nil {
		t.Fatal(err)
	}
	s.fails(1, "holds no keyset", "create-secrets-key", "--file", file)
	s.fails(1, "no such file", "create-secrets-key", "--file", filepath.Join(file+"-missing", "key.json"))
	s.fails(2, "--file", "create-secrets-key")
	if _, err := parseEvent([]byte(`{"command":"create-secrets-key","file":"/tmp/x"}`)); err == nil {
		t.Error("an event makes a file")
	}
}
