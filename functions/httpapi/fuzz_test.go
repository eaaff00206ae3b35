package httpapi_test

import (
	"encoding/json"
	"net/http"
	"testing"
)

// FuzzStartBody: any body is either refused with 4xx, or starts the session and
// its config is read back as it was answered. The database is real: what the
// decoder lets pass, a column has to hold.
func FuzzStartBody(f *testing.F) {
	for _, seed := range []string{
		"", "{}", documentedBody, `{"config":{"store":{"dialect":"postgres"}}}`, `{"config":{"x":1e400,"y":"\ud800","z":[[[{}]]]}}`,
		`{"config":{"metadata":{"a":"b"},"webhooks":[{"url":"https://a.test","events":["*"]}]}}`, `{"config":{"proxy":"socks5://u:p@h:1"}}`,
		`{"config":{"store":{"address":"/app/data/a/b.db"}}}`, "{\"config\":{\"\\u0000\":1}}", `{"config":{"x":-0.0}}`, "\xff", `[`,
	} {
		f.Add([]byte(seed))
	}
	base := newService(f)
	const path = "/api/sessions/fuzz"
	f.Fuzz(func(t *testing.T, body []byte) {
		s := base.on(t)
		started := s.post(path+"/start", string(body))
		switch started.Code {
		case http.StatusBadRequest:
			return
		case http.StatusCreated, http.StatusOK:
		default:
			t.Fatalf("%q: %d %s", body, started.Code, started.Body)
		}
		if sent, read := configText(started), configText(s.get(path)); sent != read {
			t.Fatalf("%q: answered %s, read %s", body, sent, read)
		}
		if code := s.post(path+"/stop", "").Code; code != http.StatusOK {
			t.Fatalf("stop: %d", code)
		}
	})
}

// configText is the config as it stands in the answer, numbers of any size included.
func configText(a answer) string {
	var object struct{ Config json.RawMessage }
	a.decode(&object)
	return string(object.Config)
}
