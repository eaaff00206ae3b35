package main

import (
	"encoding/json"
	"errors"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/wafleet/wafleet/shared/secret"
	"github.com/wafleet/wafleet/shared/session"
)

// keyFile makes a key file and the box that it opens.
func keyFile(t *testing.T) (path string, box *secret.Box) {
	t.Helper()
	path = filepath.Join(t.TempDir(), "secrets.key")
	if err := secret.CreateFile(path); err != nil {
		t.Fatal(err)
	}
	box, err := secret.OpenFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return path, box
}

func TestOpenConfig(t *testing.T) {
	t.Parallel()
	_, box := keyFile(t)
	_, other := keyFile(t)
	tenant := session.NewTenantID()
	whole := session.DefaultConfig(session.Defaults{})
	whole.Proxy = &session.Proxy{Server: "http://h:1", Username: "user", Password: "s3cr3t"}
	sealed := func(text []byte) session.Stored {
		secrets, err := box.Seal(t.Context(), text, session.SecretsContext(tenant))
		if err != nil {
			t.Fatal(err)
		}
		return session.Stored{Config: whole.Echo(), Secrets: secrets}
	}
	text, err := json.Marshal(whole)
	if err != nil {
		t.Fatal(err)
	}
	plain := session.Stored{Config: whole.Echo()}
	for name, tt := range map[string]struct {
		box    *secret.Box
		tenant session.TenantID
		stored session.Stored
		want   *session.Config // nil: it cannot be read
	}{
		"sealed":                       {box, tenant, sealed(text), &whole},
		"no secrets":                   {box, tenant, plain, &plain.Config},
		"no secrets and no key":        {nil, tenant, plain, &plain.Config},
		"no key":                       {nil, tenant, sealed(text), nil},
		"another key":                  {other, tenant, sealed(text), nil},
		"another tenant":               {box, session.NewTenantID(), sealed(text), nil},
		"damaged":                      {box, tenant, session.Stored{Secrets: []byte{}}, nil},
		"what was sealed is no config": {box, tenant, sealed([]byte(`["s3cr3t"`)), nil},
	} {
		got, err := openConfig(t.Context(), tt.box, tt.tenant, tt.stored)
		if tt.want == nil {
			if !errors.Is(err, secret.ErrUnreadable) || strings.Contains(err.Error(), "s3cr3t") || got.Proxy != nil {
				t.Errorf("%s: %+v, %v", name, got, err)
			}
			continue
		}
		if diff := cmp.Diff(*tt.want, got); err != nil || diff != "" {
			t.Errorf("%s: %v (-want +got):\n%s", name, err, diff)
		}
	}
}
