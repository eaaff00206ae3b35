// Package fakesecrets is the far side of AWS Secrets Manager for tests:
// GetSecretValue over HTTP, as the SDK calls it, and every trouble that it may
// have.
package fakesecrets

import (
	"crypto/rand"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
)

// Manager answers GetSecretValue as AWS Secrets Manager does (JSON 1.1 over
// HTTP), for any number of secrets. The zero value is ready.
type Manager struct{ secrets sync.Map } // by ARN

// Secret is a secret of the fake, and its trouble.
type Secret struct {
	ARN   string
	Read  atomic.Int32 // calls
	text  atomic.Pointer[string]
	fault atomic.Pointer[func(http.ResponseWriter, *http.Request)] // nil: it works
}

// Environment points the AWS SDK of a process at a server of the fake, with
// credentials that it takes.
func Environment(url string) []string {
	return []string{
		"AWS_ENDPOINT_URL_SECRETS_MANAGER=" + url, "AWS_ACCESS_KEY_ID=AKIDEXAMPLE", "AWS_SECRET_ACCESS_KEY=example",
		"AWS_EC2_METADATA_DISABLED=true", "AWS_CONFIG_FILE=" + os.DevNull, "AWS_SHARED_CREDENTIALS_FILE=" + os.DevNull,
		"AWS_MAX_ATTEMPTS=1",
	}
}

// NewSecret makes a secret that no other test uses.
func (m *Manager) NewSecret(t testing.TB, user, password string) *Secret {
	t.Helper()
	s := &Secret{ARN: "arn:aws:secretsmanager:eu-central-1:111122223333:secret:rds!db-" + rand.Text()}
	s.Rotate(user, password)
	m.secrets.Store(s.ARN, s)
	return s
}

// Rotate makes this the current login.
func (s *Secret) Rotate(user, password string) {
	text, err := json.Marshal(map[string]string{"username": user, "password": password})
	if err != nil {
		panic(err)
	}
	s.Set(string(text))
}

// Set makes this text the secret.
func (s *Secret) Set(text string) { s.text.Store(&text) }

// Breaks makes every call do this, until it is mended with nil.
func (s *Secret) Breaks(do func(http.ResponseWriter, *http.Request)) {
	if do == nil {
		s.fault.Store(nil)
		return
	}
	s.fault.Store(&do)
}

// Refuses answers with an exception of Secrets Manager.
func Refuses(exception string) func(http.ResponseWriter, *http.Request) {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/x-amz-json-1.1")
		w.WriteHeader(http.StatusBadRequest)
		fmt.Fprintf(w, `{"__type":%q,"message":"refused by the fake"}`, exception)
	}
}

// ServeHTTP implements [http.Handler].
func (m *Manager) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	var asked struct{ SecretID string }
	body, err := io.ReadAll(r.Body) // to its end: an answer before that costs the caller's connection
	if err == nil {
		err = json.Unmarshal(body, &asked) // which finds SecretId too
	}
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	found, ok := m.secrets.Load(asked.SecretID)
	signed := r.Header.Get("Authorization")
	if !ok || r.Header.Get("X-Amz-Target") != "secretsmanager.GetSecretValue" ||
		!strings.HasPrefix(signed, "AWS4-HMAC-SHA256 ") || !strings.Contains(signed, "/eu-central-1/secretsmanager/") {
		Refuses("ResourceNotFoundException")(w, r)
		return
	}
	s := found.(*Secret)
	s.Read.Add(1)
	if fault := s.fault.Load(); fault != nil {
		(*fault)(w, r)
		return
	}
	w.Header().Set("Content-Type", "application/x-amz-json-1.1")
	_ = json.NewEncoder(w).Encode(map[string]any{"ARN": s.ARN, "Name": "rds", "SecretString": s.text.Load(), "VersionId": rand.Text()})
}
