package session_test

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/wafleet/wafleet/shared/session"
)

// marker is part of every secret of the property test.
const marker = "s3cr3t"

// secretive makes a valid config with a secret wherever one fits.
func secretive(r *rand.Rand) string {
	maybe := func(format string, args ...any) string {
		if r.IntN(3) == 0 {
			return ""
		}
		return "," + fmt.Sprintf(format, args...)
	}
	var hooks []string
	for range r.IntN(4) {
		hook := fmt.Sprintf(`{"url":"https://%s:%s@x.test/path%d"`, marker, marker, r.IntN(9)) +
			maybe(`"hmac":{"key":%q}`, marker) +
			maybe(`"customHeaders":[{"name":"Authorization","value":%q},{"name":"X","value":%q}]`, "Bearer "+marker, marker) +
			maybe(`"events":["message"]`) + maybe(`"retries":{"attempts":%d}`, r.IntN(100))
		hooks = append(hooks, hook+"}")
	}
	proxies := []string{
		fmt.Sprintf(`"socks5://user:%s@h:1080"`, marker),
		fmt.Sprintf(`{"server":"http://h:1","username":"user","password":%q}`, marker),
		fmt.Sprintf(`{"server":"h:1","password":%q}`, marker),
	}
	return `{"log":{"level":"warn"}` + maybe(`"webhooks":[%s]`, strings.Join(hooks, ",")) +
		maybe(`"proxy":%s`, proxies[r.IntN(len(proxies))]) + maybe(`"metadata":{"k":"v"}`) + maybe(`"debug":true`) + "}"
}

func TestEchoLeaksNoSecret(t *testing.T) {
	t.Parallel()
	r := rand.New(rand.NewPCG(1, 2))
	leaky := 0
	for range 2000 {
		body := secretive(r)
		c, err := session.DecodeConfig([]byte(body), session.Defaults{})
		if err != nil {
			t.Fatalf("%s: %v", body, err)
		}
		before, err := json.Marshal(c)
		if err != nil {
			t.Fatal(err)
		}
		echo, err := json.Marshal(c.Echo())
		if err != nil {
			t.Fatal(err)
		}
		if strings.Contains(string(echo), marker) || strings.Contains(fmt.Sprintf("%+v", c.Echo()), marker) {
			t.Fatalf("%s\nis echoed as %s", body, echo)
		}
		if strings.Contains(string(before), marker) {
			leaky++
		}
		if got := strings.Count(string(before), marker); got != strings.Count(body, marker) {
			t.Fatalf("%s\nis stored as %s: a secret got lost", body, before)
		}
		if after, _ := json.Marshal(c); string(after) != string(before) {
			t.Fatalf("Echo changed the config itself:\n%s\n%s", before, after)
		}
		// What a client reads back, it may send again.
		if _, err := session.DecodeConfig(echo, session.Defaults{}); err != nil {
			t.Fatalf("the echo %s is not valid: %v", echo, err)
		}
	}
	if leaky < 500 {
		t.Errorf("only %d of 2000 configs held a secret: the test tests nothing", leaky)
	}
}

func TestEchoShowsTheRest(t *testing.T) {
	t.Parallel()
	c, err := session.DecodeConfig([]byte(`{"proxy":"socks5://u:p@h:1080","metadata":{"a":"b"},"noweb":{"x":1.0},
		"webhooks":[{"url":"https://a:b@x.test/p?q=1","events":["message"],"hmac":{"key":"k"},"customHeaders":[{"name":"X","value":"v"}]}]}`), session.Defaults{})
	if err != nil {
		t.Fatal(err)
	}
	echo, err := json.Marshal(c.Echo())
	want := `{"log":{"level":"INFO"},"metadata":{"a":"b"},"noweb":{"x":1.0},"proxy":{"server":"socks5://h:1080","username":"u"},` +
		`"store":{"dialect":"sqlite3","address":"/app/data/whatsmeow.db"},` +
		`"webhooks":[{"url":"https://x.test/p?q=1","events":["message"],"hmac":{},"customHeaders":[{"name":"X"}]}]}`
	if err != nil || string(echo) != want {
		t.Errorf("%s, %v", echo, err)
	}
	// A URL that no longer parses cannot have its userinfo cut out.
	c.Webhooks[0].URL = "http://a:s3cr3t@x\x7f"
	if echo := c.Echo().Webhooks[0].URL; strings.Contains(echo, marker) {
		t.Errorf("echoed as %q", echo)
	}
}

func TestProxyURL(t *testing.T) {
	t.Parallel()
	for want, p := range map[string]session.Proxy{
		"http://h:1":                    {Server: "http://h:1"},
		"socks5://u:p%40%2F@h":          {Server: "socks5://h", Username: "u", Password: "p@/"},
		"https://u:@h:8443":             {Server: "https://h:8443", Username: "u"},
		"http://a%3Ab:c@[fe80::1]:3128": {Server: "http://[fe80::1]:3128", Username: "a:b", Password: "c"},
	} {
		if u, err := p.URL(); err != nil || u.String() != want {
			t.Errorf("%v, %v; want %s", u, err, want)
		}
	}
	if u, err := (session.Proxy{Server: "http://\x7f"}).URL(); err == nil {
		t.Errorf("%v", u)
	}
}

func TestStoredConfigReadsBack(t *testing.T) {
	t.Parallel()
	var c session.Config
	// One that was stored before a rule became stricter stays readable.
	if err := json.Unmarshal([]byte(`{"store":{"dialect":"mysql"},"log":{"level":"DEBUG"}}`), &c); err != nil || c.Store.Dialect != "mysql" || c.Log.Level != session.LevelDebug {
		t.Errorf("%+v, %v", c, err)
	}
	for _, body := range []string{
		`{}`, `{"store":{"dialect":"postgres"}}`, `{"metadata":{}}`, `{"x":{"y":[1,2.50,"<&>\u2028"]},"n":1e999}`,
		`{"proxy":"socks5://u:p%40q@h:1080","webhooks":[{"url":"http://x","retries":{},"hmac":{"key":"k"},"customHeaders":[{"name":"a"}]}]}`,
	} {
		roundTrip(t, []byte(body))
	}
}

// roundTrip checks that what a valid config is stored as reads back the same.
func roundTrip(t *testing.T, data []byte) {
	t.Helper()
	first, err := session.DecodeConfig(data, session.Defaults{})
	if err != nil {
		return
	}
	stored, err := json.Marshal(first)
	if err != nil {
		t.Fatalf("%s: %v", data, err)
	}
	var second session.Config
	if err := json.Unmarshal(stored, &second); err != nil {
		t.Fatalf("%s is stored as %s: %v", data, stored, err)
	}
	if diff := cmp.Diff(first, second); diff != "" {
		t.Fatalf("%s is stored as %s (-first +second):\n%s", data, stored, diff)
	}
	if again, err := json.Marshal(second); err != nil || string(again) != string(stored) {
		t.Fatalf("%s, then %s, %v", stored, again, err)
	}
}

func FuzzDecodeStart(f *testing.F) {
	for _, seed := range []string{
		``, `{}`, `{"config":null}`, `{"config":{"store":{"dialect":"sqlite3","address":"/app/data/whatsmeow.db"},"log":{"level":"INFO"}}}`,
		`{"config":{"proxy":"socks5://u:p@h:1","metadata":{"a":"b"},"x":[1e9,{"y":null}]}}`, `{"config":{"proxy":{"server":"[::1%25a]:1","username":"u","password":"p"}}}`,
		`{"config":{"webhooks":[{"url":"http://x","events":["a"],"hmac":{"key":"k"},"retries":{"policy":"linear","attempts":-0},"customHeaders":[{"name":"a","value":"b"}]}]}}`,
		`{"config":{"log":{"level":"ſ"}}}`, "{\"config\":{\"\xff\":1}}", `{"config":{"a":"\ud800"}} x`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		config, err := session.DecodeStart(body, session.Defaults{})
		if err != nil {
			if config != nil || len(problems(t, err)) == 0 {
				t.Fatalf("%+v, %v", config, err)
			}
			return
		}
		if config == nil {
			return
		}
		if config.Store.Dialect == session.SQLite {
			if _, err := session.DataPath(config.Store.Address); err != nil {
				t.Fatalf("address %q: %v", config.Store.Address, err)
			}
		}
		if config.Proxy != nil {
			if _, err := config.Proxy.URL(); err != nil {
				t.Fatal(err)
			}
		}
		data, err := json.Marshal(config)
		if err != nil {
			t.Fatal(err)
		}
		roundTrip(t, data)
		echo, err := json.Marshal(config.Echo())
		if err != nil {
			t.Fatal(err)
		}
		if _, err := session.DecodeConfig(echo, session.Defaults{}); err != nil {
			t.Fatalf("echo %s: %v", echo, err)
		}
	})
}
