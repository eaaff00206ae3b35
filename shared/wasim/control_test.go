package wasim_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"go.mau.fi/whatsmeow"
	"go.mau.fi/whatsmeow/types/events"

	"github.com/wafleet/wafleet/shared/wasim"
)

// control is the HTTP control API of a server.
type control struct {
	t   *testing.T
	url string
	h   *http.Client
}

func newControl(t *testing.T, s *wasim.Server) *control {
	t.Helper()
	srv := httptest.NewServer(s.ControlHandler())
	t.Cleanup(srv.Close)
	return &control{t, srv.URL, srv.Client()}
}

// do sends a request and decodes the answer; it wants that status.
func (c *control) do(status int, method, path string, body any) map[string]any {
	c.t.Helper()
	var out map[string]any
	c.decode(status, method, path, body, &out)
	return out
}

func (c *control) decode(status int, method, path string, body, out any) {
	c.t.Helper()
	var raw []byte
	switch b := body.(type) {
	case nil:
	case string:
		raw = []byte(b)
	default:
		raw, _ = json.Marshal(b)
	}
	req, err := http.NewRequestWithContext(c.t.Context(), method, c.url+path, bytes.NewReader(raw))
	if err != nil {
		c.t.Fatal(err)
	}
	resp, err := c.h.Do(req)
	if err != nil {
		c.t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	text, _ := io.ReadAll(resp.Body)
	if resp.StatusCode != status {
		c.t.Fatalf("%s %s: %d %s", method, path, resp.StatusCode, text)
	}
	if err := json.Unmarshal(text, out); err != nil {
		c.t.Fatalf("%s %s: %v in %s", method, path, err, text)
	}
}

type object map[string]any

func TestControlAPI(t *testing.T) {
	t.Parallel()
	s := start(t)
	api := newControl(t, s)
	info := api.do(200, "GET", "/info", nil)
	if info["dialAddr"] != s.DialAddr() || info["rootKey"] != s.RootKeyHex() || info["caPem"] != string(s.CAPEM()) || len(s.RootKeyHex()) != 64 {
		t.Fatal(info)
	}
	c := newClient(t, s, newMemDevice())
	c.connect()
	qr := await[*events.QR](c)
	jid, _ := api.do(200, "POST", "/scan", object{"number": "5511900000200", "qr": qr.Codes[0]})["jid"].(string)
	c.online()
	stats := api.do(200, "GET", "/stats", nil)
	for key, want := range map[string]float64{
		"handshakes": 2, "registrations": 1, "logins": 1, "authed": 1, "maxSocketsPerDevice": 1,
	} {
		if stats[key] != want {
			t.Errorf("%s = %v, want %v", key, stats[key], want)
		}
	}
	var list []object
	api.decode(200, "GET", "/devices", nil, &list)
	if len(list) != 1 || list[0]["jid"] != jid {
		t.Fatal(list)
	}
	seq := s.LastSeq()
	if got := api.do(200, "POST", "/replace", object{"jid": jid}); got["affected"] != 1.0 {
		t.Fatal(got)
	}
	await[*events.StreamReplaced](c)
	var evs []wasim.Event
	api.decode(200, "GET", fmt.Sprintf("/events?since=%d&wait=10s", seq), nil, &evs)
	if len(evs) == 0 || evs[0].Kind != wasim.EventReplaced || evs[0].Seq != seq+1 {
		t.Fatal(evs)
	}
	c.Disconnect()
	api.do(200, "POST", "/fail-login", object{"jid": jid, "reason": 402, "code": "104", "expire": 60})
	c.connect()
	if e := await[*events.TemporaryBan](c); e.Code != 104 {
		t.Fatal(e)
	}
	c.Disconnect()
	for _, call := range []struct {
		path string
		body object
	}{
		{"/refuse", object{"mode": "off"}},
		{"/min-version", object{"version": "2.3000.1"}},
		{"/latency", object{"latencyMs": 1, "handshakeMs": 1}},
		{"/drop", object{"mode": "rst"}},
		{"/silent", object{"mode": "off"}},
		{"/stream-error", object{"code": 503}},
		{"/malformed", object{"jid": "5511900000299", "kind": "handler"}},
		{"/malformed", object{"jid": jid, "kind": "goroutine", "times": 2}},
		{"/malformed", object{"jid": jid, "kind": "off"}},
		{"/logout", object{"jid": jid}},
	} {
		if got := api.do(200, "POST", call.path, call.body); got["ok"] != true {
			t.Fatal(call.path, got)
		}
	}
}

func TestControlLinkCode(t *testing.T) {
	t.Parallel()
	s := start(t)
	api := newControl(t, s)
	c := newClient(t, s, newMemDevice())
	c.connect()
	await[*events.QR](c)
	code, err := c.PairPhone(t.Context(), "5511900000201", false, whatsmeow.PairClientChrome, "Chrome (Linux)")
	if err != nil {
		t.Fatal(err)
	}
	var open []wasim.ConnectionInfo
	api.decode(200, "GET", "/connections", nil, &open)
	if len(open) != 1 || open[0].Phase != "registering" || open[0].LinkFor != "5511900000201" {
		t.Fatal(open)
	}
	api.do(200, "POST", "/link-code", object{"number": "5511900000201", "code": code})
	c.online()
}

func TestControlMistakes(t *testing.T) {
	t.Parallel()
	api := newControl(t, start(t))
	for _, call := range []struct {
		status             int
		method, path, body string
		says               string
	}{
		{404, "GET", "/nope", "", "no such route"},
		{405, "GET", "/scan", "", "wants POST"},
		{405, "DELETE", "/stats", "", "wants GET"},
		{400, "POST", "/scan", "{", "bad JSON"},
		{400, "POST", "/scan", `{"numbr":"1"}`, "numbr"},
		{400, "POST", "/scan", `{} {}`, "follows"},
		{400, "POST", "/scan", `[]`, "bad JSON"},
		{400, "POST", "/scan", "", "phone number"},
		{400, "POST", "/scan", `{"number":"5511900000202","qr":"hello"}`, "QR"},
		{404, "POST", "/scan", `{"number":"5511900000202","qr":"r,` + key32 + "," + key32 + "," + key32 + `,1"}`, "no client shows"},
		{400, "POST", "/link-code", `{"number":"5511900000202","code":"1"}`, "8 characters"},
		{404, "POST", "/logout", `{"jid":"5511900000202"}`, "no such device"},
		{404, "POST", "/logout", `{}`, "no such device"},
		{400, "POST", "/logout", `{"jid":"x@y@z"}`, "not a number"},
		{400, "POST", "/drop", `{"mode":"gently"}`, "use fin, rst or close"},
		{400, "POST", "/silent", `{"mode":"loud"}`, "use mute"},
		{400, "POST", "/malformed", `{}`, "use handler"},
		{400, "POST", "/malformed", `{"jid":"x@y@z","kind":"frame"}`, "not a number"},
		{400, "POST", "/malformed", `{"jid":"x@y@z","kind":"frame","times":1}`, "not a number"},
		{400, "POST", "/refuse", `{}`, "mode"},
		{400, "POST", "/min-version", `{"version":"new"}`, "not a number"},
		{400, "POST", "/fail-login", `{"reason":-1}`, "out of range"},
		{400, "POST", "/fail-login", `{"reason":402,"code":"x"}`, "number"},
		{400, "GET", "/events?since=x", "", "since"},
		{400, "GET", "/events?wait=x", "", "wait"},
	} {
		got := api.do(call.status, call.method, call.path, call.body)
		if text, _ := got["error"].(string); !strings.Contains(text, call.says) {
			t.Errorf("%s %s %s: %v", call.method, call.path, call.body, got)
		}
	}
	if routes, _ := api.do(404, "GET", "/nope", nil)["routes"].([]any); len(routes) != 17 {
		t.Error(routes)
	}
}

// key32 is 32 zero bytes in base64.
const key32 = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="

func TestControlPage(t *testing.T) {
	t.Parallel()
	s := start(t)
	_, jid := pair(t, s, "5511900000203")
	w := httptest.NewRecorder()
	s.ControlHandler().ServeHTTP(w, httptest.NewRequest("GET", "/", nil))
	for _, want := range []string{"POST /scan", jid, s.DialAddr()} {
		if !strings.Contains(w.Body.String(), want) {
			t.Errorf("page lacks %s", want)
		}
	}
}
