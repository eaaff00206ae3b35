package conformance

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"regexp"
	"strings"
	"testing"
	"time"
)

// TestInjection sends what breaks out of headers, JSON and log lines that are
// put together by hand.
func TestInjection(t *testing.T) {
	t.Parallel()
	s := newSystem(t)
	s.owner(request{method: "POST", path: "/api/sessions", body: `{"name":"mine","start":false}`})
	const evil = `"}` + "\n" + `{"level":"ERROR","msg":"forged-line"}`
	quoted, err := json.Marshal(evil)
	if err != nil {
		t.Fatal(err)
	}
	sane := regexp.MustCompile(`^[A-Za-z0-9._=-]{1,64}$`)
	s.atBothDoors(t, func(t *testing.T, d *door) {
		for _, id := range []string{`"><script>alert(1)</script>`, `a"b`, strings.Repeat("x", 65), "a b", "ä", "{}"} {
			got := d.ask(request{path: "/api/sessions/none", key: s.tenant.key, header: header("X-Request-Id: " + id)})
			if shown := got.header.Get("X-Request-Id"); shown == id || !sane.MatchString(shown) || got.text("requestId") != shown {
				t.Errorf("the request id %q is answered as %q", id, shown)
			}
		}
		for _, r := range []request{
			{path: "/api/sessions/" + strings.NewReplacer(`"`, "%22", "\n", "%0A", "{", "%7B", "}", "%7D", " ", "%20").Replace(evil)},
			{path: "/api/sessions/mine%0d%0aSet-Cookie:%20a=1"},
			{path: "/api/sessions/<script>"},
			{method: "POST", path: "/api/sessions", body: fmt.Sprintf(`{"name":%s}`, quoted)},
			{method: "POST", path: "/api/sessions/mine/start", body: fmt.Sprintf(`{%s:1,"config":{"log":{"level":%s}}}`, quoted, quoted)},
			{method: "POST", path: "/api/mine/auth/request-code", body: fmt.Sprintf(`{"phone":%s}`, quoted)},
			{path: "/api/sessions?limit=" + strings.Repeat("9", 400) + "&all=%22%0a"},
			{path: "/api/mine/auth/qr?format=%0d%0aX-Evil:1"},
		} {
			r.key = s.tenant.key
			got := d.ask(r)
			if got.status != 400 || got.code() != "INVALID_REQUEST" || got.header.Get("Set-Cookie") != "" || got.header.Get("X-Evil") != "" {
				t.Errorf("%s %s: %d %v %s", r.method, r.path, got.status, got.header, got.body)
			}
			if got.header.Get("Content-Type") != "application/json; charset=utf-8" || strings.Count(strings.TrimSpace(string(got.body)), "\n") > 0 {
				t.Errorf("%s %s: %v %q", r.method, r.path, got.header, got.body)
			}
		}
		wellFormedLogs(t, s)
	})
}

// wellFormedLogs: a line of a log that is no JSON, or that somebody outside
// wrote, is a forged one.
func wellFormedLogs(t *testing.T, s *system) {
	t.Helper()
	for _, log := range s.logs {
		for line := range strings.Lines(log.String()) {
			var entry map[string]any
			if err := json.Unmarshal([]byte(line), &entry); err != nil || entry["msg"] == "forged-line" {
				t.Errorf("a line in the log of %s: %q, %v", log.program, line, err)
			}
		}
	}
}

// TestBodiesThatAreNoJSONObject are refused without a trace in the database.
func TestBodiesThatAreNoJSONObject(t *testing.T) {
	t.Parallel()
	s := newSystem(t)
	s.owner(request{method: "POST", path: "/api/sessions", body: `{"name":"mine","start":false}`})
	bodies := []string{
		"{", "[]", "null x", `"text"`, "1", "{} {}", `{"config":[]}`, `{"config":{"store":"x"}}`, `{"config":{"store":{"dialect":1}}}`,
		"{\"config\":{\"metadata\":{\"a\":\"\xff\"}}}", strings.Repeat("[", 100_000), `{"config":` + strings.Repeat(`{"a":`, 20_000), "\x00", "NaN",
		`{"config":{"proxy":{"server":"gopher://x"}}}`, `{"config":{"webhooks":[{"url":"javascript:alert(1)"}]}}`,
		`{"config":{"webhooks":[{"url":"https://a","customHeaders":[{"name":"X\r\nY","value":"z"}]}]}}`,
	}
	before := s.count(`SELECT count(*) FROM session`)
	s.atBothDoors(t, func(t *testing.T, d *door) {
		for _, body := range bodies {
			for _, r := range []request{
				{method: "POST", path: "/api/sessions/new/start"},
				{method: "POST", path: "/api/sessions/mine/restart"},
				{method: "PUT", path: "/api/sessions/mine"},
				{method: "POST", path: "/api/sessions"},
			} {
				r.key, r.body, r.header = s.tenant.key, body, header("Content-Type: application/json")
				if got := d.ask(r); got.status != 400 || got.code() != "INVALID_REQUEST" || len(got.body) > 4096 {
					t.Errorf("%s %s %.40q: %d %.200s", r.method, r.path, body, got.status, got.body)
				}
			}
		}
		for _, size := range []int{1<<20 + 1, 2 << 20} {
			got := d.ask(request{method: "POST", path: "/api/sessions/new/start", key: s.tenant.key, body: strings.Repeat(" ", size)})
			if got.status != 413 || got.code() != "BODY_TOO_LARGE" {
				t.Errorf("%d bytes: %d %s", size, got.status, got.body)
			}
		}
	})
	if after := s.count(`SELECT count(*) FROM session`); after != before {
		t.Errorf("%d sessions, want %d", after, before)
	}
}

// Limits of the listener's patience, see functions/api, and how much later it
// may act on a busy machine.
const (
	headerLimit = 10 * time.Second
	bodyLimit   = 20 * time.Second
	late        = 8 * time.Second
)

// TestSlowRequestsAreCutOff: whoever sends a byte per second keeps a connection
// for no longer than the listener's limits.
func TestSlowRequestsAreCutOff(t *testing.T) {
	t.Parallel()
	s := newSystem(t)
	head := "POST /api/sessions/slow/start HTTP/1.1\r\nHost: x\r\napikey: " + s.tenant.key + "\r\nContent-Length: 1000\r\n"
	for name, one := range map[string]struct {
		first, drop string
		limit       time.Duration
	}{
		"headers": {head + "X-Slow: ", "x", headerLimit},
		"body":    {head + "\r\n", " ", bodyLimit},
		"nothing": {"", "", headerLimit},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			conn, err := net.Dial("tcp", s.listener.address)
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			began := time.Now()
			dripped := make(chan struct{})
			go func() {
				defer close(dripped)
				drip(conn, one.first, one.drop)
			}()
			if err := conn.SetReadDeadline(began.Add(one.limit + late)); err != nil {
				t.Fatal(err)
			}
			answered, err := io.ReadAll(conn)
			var timeout net.Error
			if took := time.Since(began); err != nil && errors.As(err, &timeout) && timeout.Timeout() || took > one.limit+late {
				t.Errorf("not cut off after %v: %v", took, err)
			}
			if text := string(answered); text != "" && !strings.HasPrefix(text, "HTTP/1.1 4") {
				t.Errorf("answered %s", text)
			}
			conn.Close()
			<-dripped
		})
	}
}

// drip sends a byte per second until nobody takes it.
func drip(conn net.Conn, first, drop string) {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for text := first; ; text = drop {
		if _, err := io.WriteString(conn, text); err != nil {
			return
		}
		<-tick.C
	}
}
