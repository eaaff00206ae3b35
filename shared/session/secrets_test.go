package session_test

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/wafleet/wafleet/shared/session"
)

// pick returns one of the choices.
func pick(r *rand.Rand, choices ...string) string { return choices[r.IntN(len(choices))] }

// sparse makes a config with few secrets, and with the fields that could carry
// some: empty, absent, or harmless.
func sparse(r *rand.Rand) string {
	fields := []string{`"log":{"level":"` + pick(r, "debug", "INFO") + `"}`}
	var hooks []string
	for range r.IntN(3) {
		hooks = append(hooks, `{"url":"`+pick(r, "https://x.test/a?b=c", "https://x.test", "http://x.test/%7e#f", "https://u:s3cr3t@x.test/", "https://@x.test", "https://u%40@x.test/%7e")+`"`+
			pick(r, "", "", `,"hmac":{}`, `,"hmac":null`, `,"hmac":{"key":""}`, `,"hmac":{"key":null,"x":1}`, `,"hmac":{"key":"s3cr3t"}`)+
			pick(r, "", "", `,"customHeaders":[]`, `,"customHeaders":[{"name":"X"}]`, `,"customHeaders":[{"name":"X","value":""},{"name":"Y"}]`, `,"customHeaders":[{"name":"X"},{"name":"Y","value":"s3cr3t"}]`)+
			pick(r, "", `,"events":[]`, `,"events":["message"]`)+pick(r, "", `,"retries":{}`, `,"retries":{"attempts":0}`)+"}")
	}
	fields = append(fields, pick(r, `"webhooks":[`+strings.Join(hooks, ",")+`]`, `"webhooks":null`))
	fields = append(fields, `"proxy":`+pick(r, "null", `""`, `"socks5://h:1080"`, `"socks5://user@h:1080"`, `{"server":"h:1","username":"user"}`, `{"server":"http://h:1","password":""}`, `{"server":"http://h:1","password":"s3cr3t"}`))
	fields = append(fields, `"x":`+pick(r, "1.50", "null", `{"password":"not ours"}`), `"metadata":`+pick(r, "null", "{}", `{"a":"b"}`))
	return "{" + strings.Join(fields, ",") + "}"
}

func encoded(t *testing.T, c session.Config) string {
	t.Helper()
	text, err := json.Marshal(c)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// TestHasSecretsIsWhatEchoTakesAway, and an echo that was stored echoes the same.
func TestHasSecretsIsWhatEchoTakesAway(t *testing.T) {
	t.Parallel()
	r := rand.New(rand.NewPCG(3, 4))
	seen := map[bool]int{}
	for range 5000 {
		body := sparse(r)
		if r.IntN(4) == 0 {
			body = secretive(r)
		}
		c, err := session.DecodeConfig([]byte(body), session.Defaults{})
		if err != nil {
			t.Fatalf("%s: %v", body, err)
		}
		whole, echo := encoded(t, c), encoded(t, c.Echo())
		if c.HasSecrets() != (whole != echo) {
			t.Fatalf("HasSecrets says %v of\n%s, echoed as\n%s", c.HasSecrets(), whole, echo)
		}
		seen[c.HasSecrets()]++
		if c.Echo().HasSecrets() {
			t.Fatalf("the echo %s has secrets", echo)
		}
		var stored session.Config
		if err := json.Unmarshal([]byte(echo), &stored); err != nil {
			t.Fatalf("%s: %v", echo, err)
		}
		if again := encoded(t, stored.Echo()); again != echo || stored.HasSecrets() {
			t.Fatalf("echoed as\n%s, stored and echoed as\n%s", echo, again)
		}
	}
	if seen[true] < 500 || seen[false] < 500 {
		t.Errorf("%v: the test tests one side only", seen)
	}
}

func TestFirstSecretIsNamed(t *testing.T) {
	t.Parallel()
	for body, want := range map[string]string{
		`{}`: "",
		`{"proxy":"socks5://u@h:1","webhooks":[{"url":"http://x","hmac":{},"customHeaders":[{"name":"a"}]}]}`:          "",
		`{"proxy":"socks5://u:p@h:1","webhooks":[{"url":"http://u@x"}]}`:                                               "config.proxy.password",
		`{"webhooks":[{"url":"http://x"},{"url":"http://u:p@x","hmac":{"key":"k"}}]}`:                                  "config.webhooks[1].url",
		`{"webhooks":[{"url":"http://x","hmac":{"key":"k"},"customHeaders":[{"name":"a","value":"b"}]}]}`:              "config.webhooks[0].hmac.key",
		`{"webhooks":[{"url":"http://x"},{"url":"http://x","customHeaders":[{"name":"a"},{"name":"b","value":"c"}]}]}`: "config.webhooks[1].customHeaders[1].value",
	} {
		c, err := session.DecodeConfig([]byte(body), session.Defaults{})
		if err != nil {
			t.Fatalf("%s: %v", body, err)
		}
		if field, found := c.FirstSecret(); field != want || found != (want != "") {
			t.Errorf("%s: %q, %v", body, field, found)
		}
	}
	// What a decoder refuses today may have been stored.
	old := session.Config{Proxy: &session.Proxy{Server: "http://u:s3cr3t@h:1"}}
	if field, _ := old.FirstSecret(); field != "config.proxy.server" || strings.Contains(fmt.Sprintf("%+v", *old.Echo().Proxy), marker) {
		t.Errorf("%q, echoed as %+v", field, *old.Echo().Proxy)
	}
}

func TestSecretsAreBoundToOneTenant(t *testing.T) {
	t.Parallel()
	a, b := session.NewTenantID(), session.NewTenantID()
	if x, y := string(session.SecretsContext(a)), string(session.SecretsContext(b)); x == y || x != string(session.SecretsContext(a)) {
		t.Errorf("%q, %q", x, y)
	}
}
