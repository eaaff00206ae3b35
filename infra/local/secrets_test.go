package main

import (
	"os"
	"slices"
	"strings"
	"testing"
)

func TestTheKeyOfSecretsIsMadeOnce(t *testing.T) {
	t.Parallel()
	data := &dataDir{path: t.TempDir()}
	first, err := secretsKey(data)
	if err != nil {
		t.Fatal(err)
	}
	sealed, err := first.Seal(t.Context(), []byte("x"), nil)
	if err != nil {
		t.Fatal(err)
	}
	again, err := secretsKey(data)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := again.Open(t.Context(), sealed, nil); err != nil || string(got) != "x" {
		t.Errorf("%q, %v", got, err)
	}
	if !slices.Contains(connectorEnvironment(settings{}, data, "", endpoint{}), "SECRETS_KEY_FILE="+data.in("secrets.key")) {
		t.Error("connectors do not know the key")
	}
	if err := os.Chmod(data.in("secrets.key"), 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := secretsKey(data); err == nil || !strings.Contains(err.Error(), "chmod 600") {
		t.Errorf("a key that others may read: %v", err)
	}
}
