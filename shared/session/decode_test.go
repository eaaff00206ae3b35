package session_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/wafleet/wafleet/shared/session"
)

// config is the default one with a change.
func config(change func(*session.Config)) *session.Config {
	c := session.DefaultConfig(session.Defaults{})
	change(&c)
	return &c
}

func TestDecodeStart(t *testing.T) {
	t.Parallel()
	same := func(*session.Config) {}
	for body, want := range map[string]*session.Config{
		// No config keeps the stored one.
		``:                           nil,
		" \n\t":                      nil,
		`{}`:                         nil,
		`{"config":null}`:            nil,
		`{"name":"x","start":[1,2]}`: nil,
		`{"Config":{"store":1}}`:     nil,

		`{"config":{}}`: config(same),
		`{"config":{"store":{"dialect":"sqlite3","address":"/app/data/whatsmeow.db"},"log":{"level":"INFO"}}}`: config(same),
		`{"config":{"store":null,"log":null,"webhooks":null,"proxy":null,"metadata":null}}`:                    config(same),
		`{"config":{"store":{"dialect":null,"address":null},"log":{"level":null}}}`:                            config(same),
		`{"config":{"store":{"address":""},"webhooks":[],"proxy":""}}`:                                         config(same),
		`{"config":{"store":{"address":"a/b.db"}}}`:                                                            config(func(c *session.Config) { c.Store.Address = "a/b.db" }),
		`{"config":{"store":{"dialect":"postgres"}}}`:                                                          config(func(c *session.Config) { c.Store.Dialect = session.Postgres }),
		`{"config":{"store":{"dialect":"postgres","address":""}}}`:                                             config(func(c *session.Config) { c.Store.Dialect = session.Postgres }),
		`{"config":{"store":{"dialect":"postgres","address":"/app/data/whatsmeow.db"}}}`:                       config(func(c *session.Config) { c.Store.Dialect = session.Postgres }),
		`{"config":{"log":{"level":"debug"}}}`:                                                                 config(func(c *session.Config) { c.Log.Level = session.LevelDebug }),
		`{"config":{"log":{"level":"Warn"}}}`:                                                                  config(func(c *session.Config) { c.Log.Level = session.LevelWarn }),
		`{"config":{"log":{"level":"eRROR"}}}`:                                                                 config(func(c *session.Config) { c.Log.Level = session.LevelError }),
		`{"config":{"metadata":{}}}`:                                                                           config(func(c *session.Config) { c.Metadata = map[string]string{} }),
		`{"config":{"metadata":{"user":"7","x":null}}}`:                                                        config(func(c *session.Config) { c.Metadata = map[string]string{"user": "7"} }),
		`{"config":{"debug":true,"n":12345678901234567890.50,"noweb":{"a":[null,1e400]}}}`: config(func(c *session.Config) {
			c.Extra = map[string]any{"debug": true, "n": json.Number("12345678901234567890.50"), "noweb": map[string]any{"a": []any{nil, json.Number("1e400")}}}
		}),
		`{"config":{"proxy":"socks5://u:p%40q@h:1080"}}`: config(func(c *session.Config) {
			c.Proxy = &session.Proxy{Server: "socks5://h:1080", Username: "u", Password: "p@q"}
		}),
		`{"config":{"proxy":"http://u@h:1"}}`:                 config(func(c *session.Config) { c.Proxy = &session.Proxy{Server: "http://h:1", Username: "u"} }),
		`{"config":{"proxy":"https://[::1]:8443"}}`:           config(func(c *session.Config) { c.Proxy = &session.Proxy{Server: "https://[::1]:8443"} }),
		`{"config":{"proxy":{"server":"h:3128"}}}`:            config(func(c *session.Config) { c.Proxy = &session.Proxy{Server: "http://h:3128"} }),
		`{"config":{"proxy":{"server":"http://h:1/","x":1}}}`: config(func(c *session.Config) { c.Proxy = &session.Proxy{Server: "http://h:1/"} }),
		`{"config":{"proxy":{"server":"socks5://h","username":"u","password":"p"}}}`: config(func(c *session.Config) {
			c.Proxy = &session.Proxy{Server: "socks5://h", Username: "u", Password: "p"}
		}),
		`{"config":{"webhooks":[{"url":"https://x.test/h"}]}}`: config(func(c *session.Config) {
			c.Webhooks = []session.Webhook{{URL: "https://x.test/h", Events: []string{}}}
		}),
		`{"config":{"webhooks":[{"url":"http://x","events":["message","session.status"],"hmac":{"key":"k"},"retries":{"policy":"linear","delaySeconds":0,"attempts":100},
			"customHeaders":[{"name":"X-A","value":"b"},{"name":"X-B"}]},{"url":"http://y","hmac":{"key":""},"retries":{},"events":null,"customHeaders":[]}]}}`: config(func(c *session.Config) {
			c.Webhooks = []session.Webhook{{
				URL: "http://x", Events: []string{"message", "session.status"}, HMAC: &session.WebhookHMAC{Key: "k"},
				Retries:       &session.WebhookRetry{Policy: "linear", DelaySeconds: 0, Attempts: 100},
				CustomHeaders: []session.CustomHeader{{Name: "X-A", Value: "b"}, {Name: "X-B"}},
			}, {URL: "http://y", Events: []string{}, HMAC: &session.WebhookHMAC{}, Retries: &session.WebhookRetry{Policy: "constant", DelaySeconds: 2, Attempts: 15}}}
		}),
	} {
		got, err := session.DecodeStart([]byte(body), session.Defaults{})
		if err != nil {
			t.Errorf("%s: %v", body, err)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", body, diff)
		}
	}
}

func TestDefaultDialect(t *testing.T) {
	t.Parallel()
	fleet := session.Defaults{Dialect: session.Postgres}
	got, err := session.DecodeStart([]byte(`{"config":{}}`), fleet)
	if err != nil || got.Store != (session.StoreConfig{Dialect: session.Postgres, Address: session.DefaultAddress}) {
		t.Errorf("%+v, %v", got, err)
	}
	got, err = session.DecodeStart([]byte(`{"config":{"store":{"dialect":"sqlite3","address":"x"}}}`), fleet)
	if err != nil || got.Store != (session.StoreConfig{Dialect: session.SQLite, Address: "x"}) {
		t.Errorf("%+v, %v", got, err)
	}
	if _, err = session.DecodeStart([]byte(`{"config":{"store":{"address":"x"}}}`), fleet); err == nil {
		t.Error("an address with the fleet's own database was taken")
	}
}

// problems lists the fields of an error in order.
func problems(t *testing.T, err error) []string {
	t.Helper()
	var one *session.FieldError
	var many session.FieldErrors
	var fields []string
	switch {
	case errors.As(err, &many):
		for _, e := range many {
			fields = append(fields, e.Field)
		}
	case errors.As(err, &one):
		fields = append(fields, one.Field)
	default:
		t.Fatalf("%T %v is no field error", err, err)
	}
	return fields
}

func TestDecodeStartNamesTheField(t *testing.T) {
	t.Parallel()
	many := func(n int, item string) string { return strings.TrimSuffix(strings.Repeat(item+",", n), ",") }
	var metadata []string
	for i := range 65 {
		metadata = append(metadata, fmt.Sprintf(`"k%d":""`, i))
	}
	for body, want := range map[string]string{
		`{`:                            "body",
		`{"config":{}}x`:               "body",
		`{"config":{}}{}`:              "body",
		`null`:                         "body",
		`"x"`:                          "body",
		`[]`:                           "body",
		"\xff":                         "body",
		`{"config":[]}`:                "config",
		`{"config":"x"}`:               "config",
		`{"a":{"b":["\u0000"]}}`:       "a.b[0]",
		`{"config":{"x\u0000":1}}`:     "config.(a field name)",
		`{"config":{"x":"\u0000"}}`:    "config.x",
		`{"config":{"store":"x"}}`:     "config.store",
		`{"config":{"log":"DEBUG"}}`:   "config.log",
		`{"config":{"proxy":1}}`:       "config.proxy",
		`{"config":{"proxy":[]}}`:      "config.proxy",
		`{"config":{"webhooks":{}}}`:   "config.webhooks",
		`{"config":{"webhooks":[1]}}`:  "config.webhooks[0]",
		`{"config":{"metadata":[]}}`:   "config.metadata",
		`{"config":{"metadata":"x"}}`:  "config.metadata",
		`{"config":{"metadata":false}`: "body",

		`{"config":{"store":{"dialect":1}}}`:                                                              "config.store.dialect",
		`{"config":{"store":{"dialect":""}}}`:                                                             "config.store.dialect",
		`{"config":{"store":{"dialect":"mysql","address":"/etc/x"}}}`:                                     "config.store.dialect",
		`{"config":{"store":{"dialect":"SQLITE3"}}}`:                                                      "config.store.dialect",
		`{"config":{"store":{"address":5}}}`:                                                              "config.store.address",
		`{"config":{"store":{"address":"../x"}}}`:                                                         "config.store.address",
		`{"config":{"store":{"dialect":"postgres","address":"postgres://h/d"}}}`:                          "config.store.address",
		`{"config":{"log":{"level":"LOUD"}}}`:                                                             "config.log.level",
		`{"config":{"log":{"level":""}}}`:                                                                 "config.log.level",
		`{"config":{"log":{"level":5}}}`:                                                                  "config.log.level",
		`{"config":{"proxy":"h:3128:x"}}`:                                                                 "config.proxy",
		`{"config":{"proxy":"ftp://h"}}`:                                                                  "config.proxy",
		`{"config":{"proxy":"http://"}}`:                                                                  "config.proxy",
		`{"config":{"proxy":"http://:3128"}}`:                                                             "config.proxy",
		`{"config":{"proxy":"http://h?key=secret"}}`:                                                      "config.proxy",
		`{"config":{"proxy":"http://h/#secret"}}`:                                                         "config.proxy",
		`{"config":{"proxy":"\u007f"}}`:                                                                   "config.proxy",
		`{"config":{"proxy":{}}}`:                                                                         "config.proxy.server",
		`{"config":{"proxy":{"server":"http://u:secret@h:1"}}}`:                                           "config.proxy.server",
		`{"config":{"proxy":{"server":"u:secret@h:1"}}}`:                                                  "config.proxy.server",
		`{"config":{"proxy":{"server":"` + strings.Repeat("h", 2050) + `"}}}`:                             "config.proxy.server",
		`{"config":{"proxy":{"server":"h","username":1}}}`:                                                "config.proxy.username",
		`{"config":{"proxy":{"server":"h","password":1}}}`:                                                "config.proxy.password",
		`{"config":{"webhooks":[` + many(33, `{"url":"http://x"}`) + `]}}`:                                "config.webhooks",
		`{"config":{"webhooks":[{}]}}`:                                                                    "config.webhooks[0].url",
		`{"config":{"webhooks":[{"url":null}]}}`:                                                          "config.webhooks[0].url",
		`{"config":{"webhooks":[{"url":1}]}}`:                                                             "config.webhooks[0].url",
		`{"config":{"webhooks":[{"url":"x"}]}}`:                                                           "config.webhooks[0].url",
		`{"config":{"webhooks":[{"url":"ftp://x"}]}}`:                                                     "config.webhooks[0].url",
		`{"config":{"webhooks":[{"url":"http://:80/"}]}}`:                                                 "config.webhooks[0].url",
		`{"config":{"webhooks":[{"url":"http://x"},{"url":"http:///x"}]}}`:                                "config.webhooks[1].url",
		`{"config":{"webhooks":[{"url":"http://x","events":"message"}]}}`:                                 "config.webhooks[0].events",
		`{"config":{"webhooks":[{"url":"http://x","events":["a",null]}]}}`:                                "config.webhooks[0].events[1]",
		`{"config":{"webhooks":[{"url":"http://x","events":[` + many(65, `"e"`) + `]}]}}`:                 "config.webhooks[0].events",
		`{"config":{"webhooks":[{"url":"http://x","hmac":"k"}]}}`:                                         "config.webhooks[0].hmac",
		`{"config":{"webhooks":[{"url":"http://x","hmac":{"key":1}}]}}`:                                   "config.webhooks[0].hmac.key",
		`{"config":{"webhooks":[{"url":"http://x","retries":3}]}}`:                                        "config.webhooks[0].retries",
		`{"config":{"webhooks":[{"url":"http://x","retries":{"policy":"fast"}}]}}`:                        "config.webhooks[0].retries.policy",
		`{"config":{"webhooks":[{"url":"http://x","retries":{"attempts":101}}]}}`:                         "config.webhooks[0].retries.attempts",
		`{"config":{"webhooks":[{"url":"http://x","retries":{"attempts":1.5}}]}}`:                         "config.webhooks[0].retries.attempts",
		`{"config":{"webhooks":[{"url":"http://x","retries":{"attempts":"1"}}]}}`:                         "config.webhooks[0].retries.attempts",
		`{"config":{"webhooks":[{"url":"http://x","retries":{"delaySeconds":-1}}]}}`:                      "config.webhooks[0].retries.delaySeconds",
		`{"config":{"webhooks":[{"url":"http://x","retries":{"delaySeconds":1e99}}]}}`:                    "config.webhooks[0].retries.delaySeconds",
		`{"config":{"webhooks":[{"url":"http://x","customHeaders":{}}]}}`:                                 "config.webhooks[0].customHeaders",
		`{"config":{"webhooks":[{"url":"http://x","customHeaders":[{}]}]}}`:                               "config.webhooks[0].customHeaders[0].name",
		`{"config":{"webhooks":[{"url":"http://x","customHeaders":[{"name":"a b"}]}]}}`:                   "config.webhooks[0].customHeaders[0].name",
		`{"config":{"webhooks":[{"url":"http://x","customHeaders":[{"name":"ä"}]}]}}`:                     "config.webhooks[0].customHeaders[0].name",
		`{"config":{"webhooks":[{"url":"http://x","customHeaders":[{"name":"a","value":"b\r\nc: d"}]}]}}`: "config.webhooks[0].customHeaders[0].value",
		`{"config":{"webhooks":[{"url":"http://x","customHeaders":[` + many(65, `{"name":"a"}`) + `]}]}}`: "config.webhooks[0].customHeaders",
		`{"config":{"metadata":{"a":1}}}`:                                                                 "config.metadata.a",
		`{"config":{"metadata":{"a":"` + strings.Repeat("x", 1025) + `"}}}`:                               "config.metadata.a",
		`{"config":{"metadata":{` + strings.Join(metadata, ",") + `}}}`:                                   "config.metadata",
	} {
		got, err := session.DecodeStart([]byte(body), session.Defaults{})
		if got != nil || err == nil {
			t.Errorf("%s: %+v, %v", body, got, err)
			continue
		}
		if fields := problems(t, err); len(fields) != 1 || fields[0] != want {
			t.Errorf("%.120s: %v, want only %s", body, err, want)
		}
		if strings.Contains(err.Error(), "secret") {
			t.Errorf("%s: the message repeats a secret: %v", body, err)
		}
	}
}

func TestMistakesAreReportedTogether(t *testing.T) {
	t.Parallel()
	_, err := session.DecodeStart([]byte(`{"config":{"store":{"dialect":"mysql"},"log":{"level":7},"proxy":{"server":"ftp://x","username":[]},
		"webhooks":[{"url":"x","events":[1,2]},3],"metadata":{"b":1,"a":2}}}`), session.Defaults{})
	want := []string{
		"config.store.dialect", "config.log.level", "config.webhooks[1]", "config.webhooks[0].events[0]", "config.webhooks[0].events[1]", "config.webhooks[0].url",
		"config.proxy.username", "config.proxy.server", "config.metadata.a", "config.metadata.b",
	}
	if diff := cmp.Diff(want, problems(t, err)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	for _, field := range want {
		if !strings.Contains(err.Error(), field+" must ") {
			t.Errorf("the message does not say what is wrong with %s: %v", field, err)
		}
	}
}

func TestDecodeConfigNamesFieldsFromConfig(t *testing.T) {
	t.Parallel()
	for body, want := range map[string]string{
		`[]`:                          "body",
		`{"store":{"address":"/x"}}`:  "config.store.address",
		`{"x":{"y":["a","b\u0000"]}}`: "config.x.y[1]",
		`{"b":"\u0000","a":"\u0000"}`: "config.a",
	} {
		_, err := session.DecodeConfig([]byte(body), session.Defaults{})
		if fields := problems(t, err); len(fields) != 1 || fields[0] != want {
			t.Errorf("%s: %v, want %s", body, fields, want)
		}
	}
}
