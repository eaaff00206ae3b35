package httpapi_test

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/wafleet/wafleet/functions/httpapi"
	"github.com/wafleet/wafleet/shared/apikey"
)

// badRequest is a request that must be refused without a trace in the database.
type badRequest struct {
	name string
	ask
	status int
	code   httpapi.Code
	field  string // expected among errors[].field
}

// startWith is a start with a body that has a mistake in one field.
func startWith(body, field string) badRequest {
	return badRequest{
		name: "start " + short(body), field: field, status: http.StatusBadRequest, code: httpapi.CodeInvalidRequest,
		ask: ask{method: http.MethodPost, path: "/api/sessions/new/start", body: body},
	}
}

func short(text string) string {
	if len(text) > 60 {
		text = text[:60]
	}
	return fmt.Sprintf("%q", text)
}

func configWith(config, field string) badRequest {
	return startWith(`{"config":`+config+`}`, "config"+field)
}

func address(text string) badRequest {
	return configWith(fmt.Sprintf(`{"store":{"address":%q}}`, text), ".store.address")
}

func badName(path string) badRequest {
	return badRequest{
		name: "name " + short(path), field: "session", status: http.StatusBadRequest, code: httpapi.CodeInvalidRequest,
		ask: ask{method: http.MethodPost, path: path},
	}
}

func phoneWith(body, field string) badRequest {
	return badRequest{
		name: "phone " + short(body), field: field, status: http.StatusBadRequest, code: httpapi.CodeInvalidRequest,
		ask: ask{method: http.MethodPost, path: "/api/there/auth/request-code", body: body},
	}
}

func query(path, field string) badRequest {
	return badRequest{name: "query " + path, field: field, status: http.StatusBadRequest, code: httpapi.CodeInvalidRequest, ask: ask{path: path}}
}

func keyed(name string, code httpapi.Code, a ask) badRequest {
	if a.path == "" {
		a.path = "/api/sessions/new/start"
	}
	a.method = http.MethodPost
	return badRequest{name: "key " + name, status: http.StatusUnauthorized, code: code, ask: a}
}

// keyInURL is refused whatever the header says.
func keyInURL(query, field string, a ask) badRequest {
	a.method, a.path = http.MethodPost, "/api/sessions/new/start?"+query
	return badRequest{name: "key in the URL " + short(query), field: field, status: http.StatusBadRequest, code: httpapi.CodeInvalidRequest, ask: a}
}

func wrongMethod(method, path string) badRequest {
	return badRequest{name: method + " " + path, status: http.StatusMethodNotAllowed, code: httpapi.CodeMethodNotAllowed, ask: ask{method: method, path: path}}
}

func unknown(method, path string) badRequest {
	return badRequest{name: method + " " + path, status: http.StatusNotFound, code: httpapi.CodeRouteNotFound, ask: ask{method: method, path: path}}
}

func bodies() []badRequest {
	return []badRequest{
		startWith(`{`, "body"), startWith(`{"config":`, "body"), startWith(`nonsense`, "body"), startWith(`'{}'`, "body"),
		startWith(`{"config":{},}`, "body"), startWith(`{} {}`, "body"), startWith(`{}x`, "body"), startWith(`{"a":01}`, "body"),
		startWith(`[]`, "body"), startWith(`"config"`, "body"), startWith(`1`, "body"), startWith(`null`, "body"), startWith(`true`, "body"),
		startWith("{\"a\":\"\xff\"}", "body"), startWith("\xef\xbb\xbf{}", "body"), startWith("{\"a\":\"\x00\"}", "body"), startWith("\x1f\x8b\x08", "body"),
		startWith(`{"a":"\u0000"}`, "a"), startWith(`{"config":{"x":{"y":["\u0000"]}}}`, "config.x.y[0]"),
		startWith(strings.Repeat(`{"a":`, 20000)+`1`+strings.Repeat(`}`, 20000), "body"),
		startWith(strings.Repeat(`[`, 500000), "body"),
		startWith(`{"config":[]}`, "config"), startWith(`{"config":"x"}`, "config"), startWith(`{"config":7}`, "config"), startWith(`{"config":true}`, "config"),
		{name: "stop with a broken body", field: "body", status: http.StatusBadRequest, code: httpapi.CodeInvalidRequest, ask: ask{method: http.MethodPost, path: "/api/sessions/there/stop", body: `{`}},
		{name: "stop with an array", field: "body", status: http.StatusBadRequest, code: httpapi.CodeInvalidRequest, ask: ask{method: http.MethodPost, path: "/api/sessions/there/stop", body: `[]`}},
		{name: "2 MiB", status: http.StatusRequestEntityTooLarge, code: httpapi.CodeBodyTooLarge,
			ask: ask{method: http.MethodPost, path: "/api/sessions/new/start", body: `{"a":"` + strings.Repeat("x", 2<<20) + `"}`}},
		{name: "1 MiB and a byte", status: http.StatusRequestEntityTooLarge, code: httpapi.CodeBodyTooLarge,
			ask: ask{method: http.MethodPost, path: "/api/sessions/new/start", body: `{}` + strings.Repeat(" ", 1<<20-1)}},
		{name: "2 MiB to stop", status: http.StatusRequestEntityTooLarge, code: httpapi.CodeBodyTooLarge,
			ask: ask{method: http.MethodPost, path: "/api/sessions/there/stop", body: strings.Repeat(" ", 2<<20)}},
	}
}

func fields() []badRequest {
	return []badRequest{
		configWith(`{"store":"sqlite3"}`, ".store"), configWith(`{"store":[]}`, ".store"), configWith(`{"store":1}`, ".store"),
		configWith(`{"store":{"dialect":"mysql"}}`, ".store.dialect"), configWith(`{"store":{"dialect":""}}`, ".store.dialect"),
		configWith(`{"store":{"dialect":"SQLITE3"}}`, ".store.dialect"), configWith(`{"store":{"dialect":3}}`, ".store.dialect"), configWith(`{"store":{"dialect":{}}}`, ".store.dialect"),
		configWith(`{"store":{"address":5}}`, ".store.address"), configWith(`{"store":{"address":["a"]}}`, ".store.address"),
		configWith(`{"store":{"dialect":"postgres","address":"postgres://elsewhere/db"}}`, ".store.address"),
		address("/etc/passwd"), address("../a.db"), address("/app/data/../../etc/passwd"), address("/app/data/x/../../y"), address("/app/data/.."), address("/app/data/"),
		address("/app/data"), address("/app/database/x"), address("/app/data/./x"), address("/app/data//x"), address("/app/data/.hidden"), address("a\\b"), address(`..\..\x`),
		address("file:/etc/x?mode=ro"), address("x.db?cache=shared"), address("x y"), address("~/x"), address(":memory:"), address("%2e%2e/x"), address("ü.db"),
		address(strings.Repeat("a", 300)), address(strings.Repeat("a/", 40) + "b"),
		configWith(`{"log":"INFO"}`, ".log"), configWith(`{"log":{"level":"LOUD"}}`, ".log.level"), configWith(`{"log":{"level":1}}`, ".log.level"), configWith(`{"log":{"level":""}}`, ".log.level"),
		configWith(`{"webhooks":{}}`, ".webhooks"), configWith(`{"webhooks":"https://a.test"}`, ".webhooks"), configWith(`{"webhooks":["x"]}`, ".webhooks[0]"),
		configWith(`{"webhooks":[{}]}`, ".webhooks[0].url"), configWith(`{"webhooks":[{"url":7}]}`, ".webhooks[0].url"), configWith(`{"webhooks":[{"url":"ftp://a.test"}]}`, ".webhooks[0].url"),
		configWith(`{"webhooks":[{"url":"https://a.test","events":"message"}]}`, ".webhooks[0].events"), configWith(`{"webhooks":[{"url":"https://a.test","events":[1]}]}`, ".webhooks[0].events[0]"),
		configWith(`{"webhooks":[{"url":"https://a.test","hmac":"k"}]}`, ".webhooks[0].hmac"), configWith(`{"webhooks":[{"url":"https://a.test","hmac":{"key":1}}]}`, ".webhooks[0].hmac.key"),
		configWith(`{"webhooks":[{"url":"https://a.test","retries":5}]}`, ".webhooks[0].retries"), configWith(`{"webhooks":[{"url":"https://a.test","retries":{"policy":"never"}}]}`, ".webhooks[0].retries.policy"),
		configWith(`{"webhooks":[{"url":"https://a.test","retries":{"attempts":1e99}}]}`, ".webhooks[0].retries.attempts"), configWith(`{"webhooks":[{"url":"https://a.test","retries":{"attempts":1.5}}]}`, ".webhooks[0].retries.attempts"),
		configWith(`{"webhooks":[{"url":"https://a.test","retries":{"attempts":-1}}]}`, ".webhooks[0].retries.attempts"),
		configWith(`{"webhooks":[{"url":"https://a.test","retries":{"delaySeconds":"2"}}]}`, ".webhooks[0].retries.delaySeconds"),
		configWith(`{"webhooks":[{"url":"https://a.test","customHeaders":{}}]}`, ".webhooks[0].customHeaders"),
		configWith(`{"webhooks":[{"url":"https://a.test","customHeaders":[{"name":"a b"}]}]}`, ".webhooks[0].customHeaders[0].name"),
		configWith(`{"webhooks":[{"url":"https://a.test","customHeaders":[{"name":"a","value":"x\r\ny"}]}]}`, ".webhooks[0].customHeaders[0].value"),
		configWith(`{"proxy":5}`, ".proxy"), configWith(`{"proxy":"ftp://p"}`, ".proxy"), configWith(`{"proxy":{"server":"gopher://p"}}`, ".proxy.server"), configWith(`{"proxy":{}}`, ".proxy.server"),
		configWith(`{"proxy":{"server":"http://p","username":1}}`, ".proxy.username"), configWith(`{"proxy":{"server":"http://p","password":[]}}`, ".proxy.password"),
		configWith(`{"metadata":[]}`, ".metadata"), configWith(`{"metadata":{"a":1}}`, ".metadata.a"), configWith(`{"metadata":{"a":"`+strings.Repeat("x", 2000)+`"}}`, ".metadata.a"),
		configWith(`{"metadata":{"`+strings.Repeat("k", 100000)+`":1}}`, ".metadata."+strings.Repeat("k", 200-len("config.metadata."))+"..."),
		configWith(`{"webhooks":[`+strings.Repeat(`1,`, 400000)+`1]}`, ".webhooks[9]"), configWith(`{"x":"`+strings.Repeat("x", 70000)+`"}`, ""),
		configWith(`{"store":{"dialect":"x"},"log":{"level":"y"}}`, ".log.level"), // both are reported
		phoneWith(``, "phone"), phoneWith(`{"phone":""}`, "phone"), phoneWith(`{"phone":"123456"}`, "phone"), phoneWith(`{"phone":"1234567890123456"}`, "phone"),
		phoneWith(`{"phone":"0511999999999"}`, "phone"), phoneWith(`{"phone":5511999999999}`, "phone"), phoneWith(`{"phone":["5511999999999"]}`, "phone"),
		phoneWith(`{"phoneNumber":"x"}`, "phoneNumber"), phoneWith(`{"phone":"5511999999999","method":"pigeon"}`, "method"), phoneWith(`{"phone":"5511999999999","method":1}`, "method"), phoneWith(`{"phone"`, "body"),
		query("/api/sessions?limit=0", "limit"), query("/api/sessions?limit=-1", "limit"), query("/api/sessions?limit=ten", "limit"), query("/api/sessions?limit=1001", "limit"),
		query("/api/sessions?limit=99999999999999999999", "limit"), query("/api/sessions?limit=1&limit=2", "limit"), query("/api/sessions?limit=", "limit"),
		query("/api/sessions?offset=-1", "offset"), query("/api/sessions?offset=1.5", "offset"), query("/api/sessions?all=maybe", "all"), query("/api/there/auth/qr?format=pdf", "format"),
	}
}

func names() []badRequest {
	list := []badRequest{
		badName("/api/sessions/a%2Fb/start"), badName("/api/sessions/a%2fstart/start"), badName("/api/a%2Fb/auth/request-code"), badName("/api/sessions/%2e%2e/start"),
		badName("/api/sessions/a%00b/start"), badName("/api/sessions/a%ffb/start"), badName("/api/sessions/a%20b/start"), badName("/api/sessions/a.b/start"),
		badName("/api/sessions/%D0%B8/start"), badName("/api/sessions/a%3Fb/start"), badName("/api/sessions/a%0d%0aX:%20y/start"), badName("/api/sessions/5511%40c.us/stop"),
		badName("/api/sessions/" + strings.Repeat("a", 55) + "/start"), badName("/api/sessions/" + strings.Repeat("a", 5000) + "/stop"), badName("/api/sessions/a;b=c/start"),
	}
	for _, word := range []string{"sessions", "contacts", "files", "server", "keys", "send", "events", "apps", "screenshot", "version", "messages"} {
		list = append(list, badName("/api/sessions/"+word+"/start"))
	}
	return list
}

func (s *service) keysAndRoutes(revoked apikey.Key) []badRequest {
	const missing, invalid = httpapi.CodeKeyMissing, httpapi.CodeKeyInvalid
	own := s.key.Reveal()
	return []badRequest{
		keyed("missing", missing, ask{noKey: true}),
		keyed("empty", missing, ask{noKey: true, header: http.Header{"Apikey": {""}}}),
		keyInURL("apikey="+own, "apikey", ask{noKey: true}), keyInURL("apikey="+own, "apikey", ask{}), keyInURL("a=1&X-Api-Key="+own, "x-api-key", ask{}),
		keyInURL("API_KEY="+own, "api_key", ask{}), keyInURL("x=1;ApiKey="+own, "apikey", ask{}), keyInURL("%61pikey="+own, "apikey", ask{}), keyInURL("apikey", "apikey", ask{}),
		keyInURL("apikey=%zz"+own, "apikey", ask{noKey: true}), keyInURL("x=%zz&+apikey+="+own, "apikey", ask{}),
		keyed("as a bearer", missing, ask{noKey: true, header: http.Header{"Authorization": {"Bearer " + own}}}),
		keyed("wrong", invalid, ask{key: "wrong"}),
		keyed("unknown", invalid, ask{key: apikey.New().Reveal()}),
		keyed("revoked", invalid, ask{key: revoked.Reveal()}),
		keyed("right id, wrong secret", invalid, ask{key: own[:len(own)-1] + "_"}),
		keyed("other secret", invalid, ask{key: own[:20] + apikey.New().Reveal()[20:]}),
		keyed("upper case", invalid, ask{key: strings.ToUpper(own)}),
		keyed("with a space", invalid, ask{key: own + " x"}),
		keyed("too long", invalid, ask{key: strings.Repeat("k", 10000)}),
		keyed("not UTF-8", invalid, ask{key: "\xff\xfe"}),
		keyed("with a quote", invalid, ask{key: "' OR 1=1 --"}),
		keyed("two values", invalid, ask{noKey: true, header: http.Header{"Apikey": {own, "other"}}}),
		keyed("joined by a gateway", invalid, ask{key: own + ",other"}),
		keyed("two headers", invalid, ask{header: http.Header{"X-Api-Key": {"other"}}}),
		keyed("unknown route", missing, ask{noKey: true, path: "/api/what"}),
		keyed("unbuilt route", missing, ask{noKey: true, path: "/api/sendText"}),
		wrongMethod(http.MethodGet, "/api/sessions/new/start"), wrongMethod(http.MethodPut, "/api/sessions/new/start"), wrongMethod(http.MethodDelete, "/api/sessions/there/stop"),
		wrongMethod(http.MethodPost, "/api/sessions/there"), wrongMethod(http.MethodPatch, "/api/sessions/there"), wrongMethod(http.MethodPost, "/api/there/auth/qr"),
		wrongMethod(http.MethodGet, "/api/there/auth/request-code"), wrongMethod(http.MethodPost, "/ping"), wrongMethod("BREW", "/api/sessions"), wrongMethod(http.MethodDelete, "/"),
		unknown(http.MethodGet, "/api"), unknown(http.MethodGet, "/api/what"), unknown(http.MethodPost, "/api/sessions/new/start/now"), unknown(http.MethodGet, "/what"),
		unknown(http.MethodGet, "/API/sessions"), unknown(http.MethodPost, "/api/sessions/new%2Fstart/x"), unknown(http.MethodPost, "/api%2Fsessions/new/start"),
		unknown(http.MethodGet, "/.git/config"), unknown(http.MethodGet, "/index.html"), unknown(http.MethodGet, "/api/harness/panic"),
	}
}

func TestBadInputIsRefusedAndLeavesNoTrace(t *testing.T) {
	t.Parallel()
	s := newService(t)
	s.start("there")
	s.hold().showQR("2@code")
	revoked := apikey.New()
	s.putKey(revoked.Reveal(), s.tenant, true)
	before := s.rows()
	cases := slices.Concat(bodies(), fields(), names(), s.keysAndRoutes(revoked))
	if len(cases) < 60 {
		t.Fatalf("%d cases", len(cases))
	}
	for _, one := range cases {
		t.Run(one.name, func(t *testing.T) {
			one.check(t, s.on(t).do(one.ask))
		})
	}
	if diff := cmp.Diff(before, s.rows()); diff != "" {
		t.Errorf("rows (-before +after)\n%s", diff)
	}
	if log := s.log.String(); strings.Contains(log, s.key.Reveal()) || strings.Contains(log, revoked.Reveal()) || strings.Contains(log, "BREW") {
		t.Error("a key, or a word of the caller's, is in the log")
	}
}

func (b badRequest) check(t *testing.T, a answer) {
	t.Helper()
	body := a.wantError(b.status, b.code)
	switch b.status {
	case http.StatusBadRequest:
		if !slices.Contains(fieldsOf(body), b.field) || !strings.Contains(body["message"].(string), b.field) {
			t.Errorf("field %s is not named: %s", b.field, a.Body)
		}
	case http.StatusRequestEntityTooLarge:
		if !strings.Contains(body["message"].(string), "1 MiB") {
			t.Errorf("the limit is not named: %s", a.Body)
		}
	case http.StatusUnauthorized:
		if a.Header().Get("WWW-Authenticate") == "" {
			t.Error("no WWW-Authenticate")
		}
	case http.StatusMethodNotAllowed:
		if a.Header().Get("Allow") == "" {
			t.Error("no Allow")
		}
	}
	if a.Body.Len() > 8<<10 {
		t.Errorf("the error body has %d bytes", a.Body.Len())
	}
}

func fieldsOf(body map[string]any) []string {
	list, _ := body["errors"].([]any)
	var names []string
	for _, item := range list {
		name, _ := item.(map[string]any)["field"].(string)
		names = append(names, name)
	}
	return names
}
