package httpapi_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/wafleet/wafleet/functions/control"
	"github.com/wafleet/wafleet/functions/httpapi"
	"github.com/wafleet/wafleet/shared/session"
)

// dump is every value of every table as Postgres hands it out: what is bytes
// there is these bytes here.
func (s *service) dump() string {
	s.Helper()
	var tables []string
	if err := s.store.DB().QueryRow(`SELECT array_to_json(array_agg(tablename ORDER BY tablename)) FROM pg_tables WHERE schemaname = 'public'`).Scan(jsonList{&tables}); err != nil {
		s.Fatal(err)
	}
	if len(tables) < 10 {
		s.Fatalf("tables %v", tables)
	}
	var text strings.Builder
	for _, table := range tables {
		s.dumpTable(table, &text)
	}
	return text.String()
}

func (s *service) dumpTable(table string, into *strings.Builder) {
	s.Helper()
	rows, err := s.store.DB().Query(`SELECT * FROM ` + table)
	if err != nil {
		s.Fatal(err)
	}
	defer rows.Close()
	columns, err := rows.Columns()
	if err != nil {
		s.Fatal(err)
	}
	values := make([]any, len(columns))
	for rows.Next() {
		for i := range values {
			values[i] = new(any)
		}
		if err := rows.Scan(values...); err != nil {
			s.Fatal(err)
		}
		for i, value := range values {
			switch value := (*value.(*any)).(type) {
			case []byte:
				fmt.Fprintf(into, "%s.%s: %s\n", table, columns[i], value)
			default:
				fmt.Fprintf(into, "%s.%s: %v\n", table, columns[i], value)
			}
		}
	}
	if err := rows.Err(); err != nil {
		s.Fatal(err)
	}
}

// jsonList scans a JSON array.
type jsonList struct{ into *[]string }

func (l jsonList) Scan(value any) error { return json.Unmarshal(value.([]byte), l.into) }

// secretsOf is what the row of a session has sealed; nil for NULL.
func (s *service) secretsOf(name string) (sealed []byte) {
	s.Helper()
	if err := s.store.DB().QueryRow(`SELECT secrets FROM session WHERE tenant_id = $1 AND name = $2`, s.tenant, name).Scan(&sealed); err != nil {
		s.Fatal(err)
	}
	return sealed
}

// hiddenConfig has every kind of secret; each has "hidden-" in it.
const hiddenConfig = `{"metadata":{"user":"seven"},"proxy":{"server":"socks5://proxy:1080","username":"u","password":"hidden-1"},
	"webhooks":[{"url":"https://u:hidden-2@hook.test/x?a=1","events":["message"],"hmac":{"key":"hidden-3"},"customHeaders":[{"name":"X-A","value":"hidden-4"}]}]}`

func hiddenBody() string { return `{"config":` + hiddenConfig + `}` }

func TestSecretsAreSealedInTheDatabase(t *testing.T) {
	t.Parallel()
	box := newBox(t)
	s := newServiceWith(t, control.Config{SQLiteAvailable: true, Secrets: box})
	s.do(again("k", "/api/sessions/a/start", hiddenBody())).want(http.StatusCreated) // its answer is stored too
	s.do(again("k", "/api/sessions/a/start", hiddenBody())).want(http.StatusCreated)
	s.post("/api/sessions", `{"name":"b","config":`+hiddenConfig+`}`).want(http.StatusCreated)
	s.start("c")
	s.put("/api/sessions/c", hiddenBody()).want(http.StatusOK)
	s.start("d")
	s.post("/api/sessions/d/restart", hiddenBody()).want(http.StatusOK)
	for _, name := range []string{"a", "b", "c", "d"} {
		opened, err := box.Open(t.Context(), s.secretsOf(name), session.SecretsContext(s.tenant))
		if err != nil || strings.Count(string(opened), "hidden-") != 4 {
			t.Errorf("%s: %s, %v", name, opened, err)
		}
		if echo := s.get("/api/sessions/" + name).want(http.StatusOK).Body.String(); strings.Contains(echo, "hidden-") || !strings.Contains(echo, `"username":"u"`) {
			t.Errorf("%s: %s", name, echo)
		}
	}
	dump := s.dump()
	if strings.Count(dump, `"user":"seven"`) < 5 || !strings.Contains(dump, "idempotency.body: {") {
		t.Errorf("the dump lacks what is stored: %s", dump)
	}
	if strings.Contains(dump, "hidden-") || strings.Contains(s.log.String(), "hidden-") {
		t.Errorf("a secret is in the database or the log")
	}
}

func TestWithoutAKeySecretsAreRefused(t *testing.T) {
	t.Parallel()
	s := newServiceWith(t, control.Config{SQLiteAvailable: true})
	s.start("there")
	before, shown := s.dump(), s.get("/api/sessions/there").object()
	for config, field := range map[string]string{
		`{"proxy":{"server":"http://p","username":"u","password":"hidden-1"}}`: "config.proxy.password", `{"proxy":"http://u:hidden-1@p"}`: "config.proxy.password",
		`{"webhooks":[{"url":"https://u:hidden-2@hook.test"}]}`:                                                      "config.webhooks[0].url",
		`{"webhooks":[{"url":"https://a.test"},{"url":"https://b.test","hmac":{"key":"hidden-3"}}]}`:                 "config.webhooks[1].hmac.key",
		`{"webhooks":[{"url":"https://a.test","customHeaders":[{"name":"X-A"},{"name":"X-B","value":"hidden-4"}]}]}`: "config.webhooks[0].customHeaders[1].value",
	} {
		for _, one := range []ask{
			{method: http.MethodPost, path: "/api/sessions/new/start"}, {method: http.MethodPost, path: "/api/sessions"},
			{method: http.MethodPut, path: "/api/sessions/there"}, {method: http.MethodPost, path: "/api/sessions/there/restart"},
		} {
			one.body = `{"config":` + config + `}`
			refused := s.do(one).wantError(http.StatusNotImplemented, httpapi.CodeSecretsUnavailable)
			if message := fmt.Sprint(refused["message"]); !strings.Contains(message, field) || strings.Contains(message, "hidden-") {
				t.Errorf("%s: %s", config, message)
			}
		}
	}
	wantSame(t, s.get("/api/sessions/there").object(), shown)
	if after := s.dump(); forgetUse(after) != forgetUse(before) {
		t.Errorf("something is stored:\n%s\nwas\n%s", after, before)
	}
	if strings.Contains(s.log.String(), "hidden-") {
		t.Error("a secret is in the log")
	}
	s.put("/api/sessions/there", `{"config":{"proxy":{"server":"http://p","username":"u"},"webhooks":[{"url":"https://a.test","hmac":{},"customHeaders":[{"name":"X-A"}]}]}}`).want(http.StatusOK)
}

// forgetUse leaves out when a key was last used, which any request may move.
func forgetUse(dump string) string {
	var kept []string
	for line := range strings.Lines(dump) {
		if !strings.HasPrefix(line, "api_key.last_used_at") {
			kept = append(kept, line)
		}
	}
	return strings.Join(kept, "")
}

func TestSecretsStayUntilTheConfigIsReplaced(t *testing.T) {
	t.Parallel()
	s := newService(t)
	s.post("/api/sessions/a/start", hiddenBody()).want(http.StatusCreated)
	sealed := s.secretsOf("a")
	for _, path := range []string{"restart", "stop", "start", "restart"} {
		s.post("/api/sessions/a/"+path, "").want(http.StatusOK)
		if kept := s.secretsOf("a"); len(kept) == 0 || string(kept) != string(sealed) {
			t.Errorf("after %s: %d bytes, were %d", path, len(kept), len(sealed))
		}
	}
	for _, drop := range []ask{
		{method: http.MethodPut, path: "/api/sessions/a", body: `{"config":{"proxy":{"server":"socks5://proxy:1080","username":"u"}}}`},
		{method: http.MethodPost, path: "/api/sessions/a/restart", body: `{"config":{}}`},
	} {
		s.do(drop).want(http.StatusOK)
		if left := s.secretsOf("a"); left != nil {
			t.Errorf("%s %s leaves %d bytes", drop.method, drop.path, len(left))
		}
		s.put("/api/sessions/a", hiddenBody()).want(http.StatusOK)
		if s.secretsOf("a") == nil {
			t.Error("no secrets after a PUT that has some")
		}
	}
}

// TestAConfigThatAnOlderVersionStored has its secrets in the clear.
func TestAConfigThatAnOlderVersionStored(t *testing.T) {
	t.Parallel()
	for name, config := range map[string]control.Config{"with a key": {SQLiteAvailable: true, Secrets: newBox(t)}, "without": {SQLiteAvailable: true}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newServiceWith(t, config)
			s.start("a")
			s.sql(`UPDATE session SET config = $1`, `{"store":{"dialect":"sqlite3","address":"/app/data/whatsmeow.db"},"log":{"level":"INFO"},`+hiddenConfig[1:])
			for _, a := range []answer{
				s.get("/api/sessions/a"), s.get("/api/sessions"), s.post("/api/sessions/a/restart", ""), s.post("/api/sessions/a/stop", ""), s.post("/api/sessions/a/start", ""),
			} {
				text := a.want(http.StatusOK).Body.String()
				if strings.Contains(text, "hidden-") || !strings.Contains(text, `"url":"https://hook.test/x?a=1"`) || !strings.Contains(text, `"username":"u"`) {
					t.Errorf("%s", text)
				}
			}
			s.put("/api/sessions/a", `{"config":{}}`).want(http.StatusOK)
			if strings.Contains(s.dump(), "hidden-") {
				t.Error("a secret outlives its config")
			}
			if strings.Contains(s.log.String(), "hidden-") {
				t.Error("a secret is in the log")
			}
		})
	}
}

// TestARepeatedKeyHasNoSecret: neither in the answer, nor in what it is from.
func TestARepeatedKeyHasNoSecret(t *testing.T) {
	t.Parallel()
	s := newAdminService(t)
	request := again("k", "/api/keys", `{"name":"shop","scope":"read"}`)
	first := s.do(request).want(http.StatusCreated)
	made := first.object()
	key, _ := made["key"].(string)
	if first.Header().Get("Idempotency-Replayed") != "" || !strings.HasPrefix(key, "wf_"+fmt.Sprint(made["id"])+"_") {
		t.Fatalf("%v", made)
	}
	s.do(ask{path: "/api/sessions", key: key}).want(http.StatusOK)
	repeated := s.do(request).want(http.StatusCreated)
	if repeated.Header().Get("Idempotency-Replayed") != "true" {
		t.Errorf("%v", repeated.Header())
	}
	delete(made, "key")
	wantSame(t, repeated.object(), made)
	if n := s.count(`SELECT count(*) FROM api_key`); n != 2 {
		t.Errorf("%d keys", n)
	}
	secret := key[strings.LastIndex(key, "_")+1:]
	dump := s.dump()
	if !strings.Contains(dump, `idempotency.body: {"`) || !strings.Contains(dump, fmt.Sprintf(`"id":"%s"`, made["id"])) {
		t.Errorf("the dump lacks the stored answer: %s", dump)
	}
	if len(secret) < 20 || strings.Contains(dump, secret) || strings.Contains(dump, `"key":`) || strings.Contains(s.log.String(), secret) {
		t.Errorf("the secret %q is stored or logged", secret)
	}
}
