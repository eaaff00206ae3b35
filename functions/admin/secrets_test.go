package main

import (
	"net/http/httptest"
	"strings"
	"testing"

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
