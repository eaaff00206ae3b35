package conformance

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/wafleet/wafleet/shared/e2e/bootstrap"
)

// The secrets that every config of a test carries. None may be anywhere outside
// of the API and the connector.
const (
	webhookKey    = "webhook-key-4f1d6b"
	headerValue   = "header-value-93c0aa"
	proxyPassword = "proxy-password-77e2"
)

var configSecrets = []string{webhookKey, headerValue, proxyPassword}

// secret notes a text that may be nowhere but where it is used.
func (s *system) secret(text string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.secrets = append(s.secrets, text)
}

func (s *system) allSecrets() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.secrets)
}

// keySecrets are those secrets that are in the database in no form, ever.
func (s *system) keySecrets() (keys []string) {
	for _, secret := range s.allSecrets() {
		if strings.HasPrefix(secret, "wf_") {
			keys = append(keys, secret, secret[strings.LastIndex(secret, "_")+1:])
		}
	}
	return keys
}

// secretsKey is a key file for programs that seal secrets: a keyset of Tink with
// one AES256_GCM key, of which the test is the only user.
func (s *system) secretsKey() string {
	s.Helper()
	key := append([]byte{0x1a, 32}, strings.Repeat("k", 32)...) // field 3 of AesGcmKey, 32 bytes
	text, err := json.Marshal(map[string]any{"primaryKeyId": 1, "key": []any{map[string]any{
		"keyId": 1, "status": "ENABLED", "outputPrefixType": "TINK",
		"keyData": map[string]string{
			"typeUrl": "type.googleapis.com/google.crypto.tink.AesGcmKey", "keyMaterialType": "SYMMETRIC",
			"value": base64.StdEncoding.EncodeToString(key),
		},
	}}})
	if err != nil {
		s.Fatal(err)
	}
	path := filepath.Join(s.TempDir(), "secrets.key")
	if err := os.WriteFile(path, text, 0o600); err != nil {
		s.Fatal(err)
	}
	return path
}

// dump is the whole database as text, by table.
func (s *system) dump() map[string]string {
	s.Helper()
	const tables = `SELECT quote_ident(table_schema) || '.' || quote_ident(table_name) FROM information_schema.tables
WHERE table_schema NOT IN ('pg_catalog', 'information_schema') AND table_type = 'BASE TABLE'`
	dump := map[string]string{}
	for _, table := range s.texts(tables) {
		// A row as text shows bytea in hex; what is text in it is looked for as well.
		dump[table] = strings.Join(s.texts(`SELECT t::text FROM `+table+` t`), "\n")
	}
	if len(dump) < 8 {
		s.Errorf("a database of %d tables", len(dump))
	}
	return dump
}

// inHex is how a text looks in a bytea column.
func inHex(text string) string { return fmt.Sprintf("%x", text) }

// noSecretInDatabase looks for secrets in every table but the one with the numbers of
// everybody.
func (s *system) noSecretInDatabase(secrets []string) {
	s.Helper()
	for table, text := range s.dump() {
		for _, secret := range secrets {
			if table != numbers && (strings.Contains(text, secret) || strings.Contains(text, inHex(secret))) {
				s.Errorf("table %s holds the secret %s", table, secret)
			}
		}
	}
}

// noSecretOutside looks for secrets in the logs of all programs and in every
// error that was answered, and for what no log should say.
func (s *system) noSecretOutside() {
	s.Helper()
	s.noSecretIn("an error body", strings.Join(s.errors, "\n"))
	for _, log := range s.logs {
		text := log.String()
		if text == "" {
			s.Errorf("%s has no log", log.program)
		}
		s.noSecretIn("the log of "+log.program, text)
		races := log.program != "connector" && strings.Contains(text, "DATA RACE")
		if races || strings.Contains(text, "panic:") || strings.Contains(text, "panic in a request") || strings.Contains(text, "illegal transition") {
			s.Errorf("the log of %s: %s", log.program, bootstrap.Tail(text))
		}
	}
}

func (s *system) noSecretIn(where, text string) {
	s.Helper()
	for _, secret := range append(s.allSecrets(), configSecrets...) {
		if strings.Contains(text, secret) {
			s.Errorf("%s holds the secret %s", where, secret)
		}
	}
}
