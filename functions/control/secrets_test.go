package control

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/wafleet/wafleet/shared/secret"
	"github.com/wafleet/wafleet/shared/session"
)

const withSecrets = `{"proxy":"socks5://user:s3cr3t@h:1080","noweb":{"x":1.0},
	"webhooks":[{"url":"https://u:s3cr3t@x.test","hmac":{"key":"s3cr3t"},"customHeaders":[{"name":"X","value":"s3cr3t"}]}]}`

func decoded(t *testing.T, text string) session.Config {
	t.Helper()
	config, err := session.DecodeConfig([]byte(text), session.Defaults{})
	if err != nil {
		t.Fatal(err)
	}
	return config
}

func keyBox(t *testing.T) *secret.Box {
	t.Helper()
	path := filepath.Join(t.TempDir(), "secrets.key")
	if err := secret.CreateFile(path); err != nil {
		t.Fatal(err)
	}
	box, err := secret.OpenFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return box
}

func TestSecretsAreSealedForTheirTenant(t *testing.T) {
	t.Parallel()
	box, tenant, config := keyBox(t), session.NewTenantID(), decoded(t, withSecrets)
	stored, err := New(nil, Config{Secrets: box}).seal(t.Context(), tenant, config)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(config.Echo(), stored.Config); diff != "" || stored.Config.HasSecrets() {
		t.Errorf("stored (-echo +stored):\n%s", diff)
	}
	if bytes.Contains(stored.Secrets, []byte("s3cr3t")) || strings.Contains(fmt.Sprintf("%+v", stored.Config), "s3cr3t") {
		t.Errorf("in the clear: %+v", stored)
	}
	text, err := box.Open(t.Context(), stored.Secrets, session.SecretsContext(tenant))
	if err != nil {
		t.Fatal(err)
	}
	var whole session.Config
	if err := json.Unmarshal(text, &whole); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(config, whole); diff != "" {
		t.Errorf("the whole config (-sent +opened):\n%s", diff)
	}
	if _, err := box.Open(t.Context(), stored.Secrets, session.SecretsContext(session.NewTenantID())); !errors.Is(err, secret.ErrUnreadable) {
		t.Errorf("opened for another tenant: %v", err)
	}
}

func TestWithoutAKeySecretsAreRefusedAndAllElseIsNot(t *testing.T) {
	t.Parallel()
	c := New(nil, Config{})
	stored, err := c.seal(t.Context(), session.NewTenantID(), decoded(t, withSecrets))
	if !errors.Is(err, ErrSecretsUnavailable) || !strings.Contains(err.Error(), "config.proxy.password") || strings.Contains(err.Error(), "s3cr3t") {
		t.Errorf("%v", err)
	}
	if diff := cmp.Diff(session.Stored{}, stored); diff != "" {
		t.Errorf("refused, and yet:\n%s", diff)
	}
	plain := decoded(t, `{"proxy":"socks5://user@h:1080","webhooks":[{"url":"https://x.test","hmac":{}}]}`)
	for _, sealer := range []Sealer{nil, down{}} {
		stored, err := New(nil, Config{Secrets: sealer}).seal(t.Context(), session.NewTenantID(), plain)
		if diff := cmp.Diff(session.Stored{Config: plain}, stored); diff != "" || err != nil {
			t.Errorf("%v:\n%s", err, diff)
		}
	}
}

// down is a key that cannot be reached.
type down struct{}

func (down) Seal(context.Context, []byte, []byte) ([]byte, error) {
	return nil, fmt.Errorf("seal: %w", session.ErrUnavailable)
}

func TestAKeyOutOfReachIsNoMissingKey(t *testing.T) {
	t.Parallel()
	_, err := New(nil, Config{Secrets: down{}}).seal(t.Context(), session.NewTenantID(), decoded(t, withSecrets))
	if !errors.Is(err, session.ErrUnavailable) || errors.Is(err, ErrSecretsUnavailable) {
		t.Errorf("%v", err)
	}
}
