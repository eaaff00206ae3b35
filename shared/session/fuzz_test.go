package session_test

import (
	"encoding/json"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/wafleet/wafleet/shared/session"
)

// secret is in every place of a config that a client may not read back.
const secret = "hidden-from-everybody"

// FuzzDecodeConfig: what is accepted comes back from the database as it was, and
// no secret that is put into it shows in the echo.
func FuzzDecodeConfig(f *testing.F) {
	for _, seed := range []string{
		``, `{}`, `{"store":{"dialect":"postgres"},"log":{"level":"warn"}}`, `{"store":{"address":"a/b.db"},"x":{"y":[1e400,"\ud800",null]}}`,
		`{"proxy":"socks5://u:p@h:1","metadata":{"a":"b"}}`, `{"proxy":{"server":"h:1","username":"u","password":"p"}}`,
		`{"webhooks":[{"url":"https://u:p@h/x","events":["*"],"hmac":{"key":"k"},"customHeaders":[{"name":"A","value":"v"}]},{"url":"http://h"}]}`,
		`{"a":1,"a":2}`, `{"":{"":[]}}`, `{"log":{"level":"INFO"},"debug":true,"noweb":{"store":{"enabled":true}}}`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		config, err := session.DecodeConfig(data, session.Defaults{})
		if err != nil {
			return
		}
		stored, err := json.Marshal(config)
		if err != nil {
			t.Fatalf("%q: %v", data, err)
		}
		var read session.Config
		if err := json.Unmarshal(stored, &read); err != nil {
			t.Fatalf("%q is stored as %s: %v", data, stored, err)
		}
		if diff := cmp.Diff(config, read); diff != "" {
			t.Fatalf("%q is stored as %s (-in +out):\n%s", data, stored, diff)
		}
		if strings.Contains(string(data), secret) {
			return // a fuzzer that learnt it may put it anywhere
		}
		for i := range read.Webhooks {
			hook := &read.Webhooks[i]
			hook.HMAC = &session.WebhookHMAC{Key: secret}
			hook.CustomHeaders = append(hook.CustomHeaders, session.CustomHeader{Name: "X", Value: secret})
			hook.URL = strings.Replace(hook.URL, "://", "://u:"+secret+"@", 1)
		}
		if read.Proxy != nil {
			read.Proxy.Password = secret
		}
		if echo, err := json.Marshal(read.Echo()); err != nil || strings.Contains(string(echo), secret) {
			t.Fatalf("%q is echoed as %s, %v", data, echo, err)
		}
	})
}

// FuzzParseName: a name is one plain segment of a path, of a URL and of a file
// system, whatever it was made of.
func FuzzParseName(f *testing.F) {
	for _, seed := range []string{"my-session", "5511999999999", "sessions", "..", "a/b", "a%2Fb", "", "a\n", "\xff", "ſessions", strings.Repeat("a", 54), strings.Repeat("a", 55)} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, in string) {
		name, err := session.ParseName(in)
		if err != nil {
			if name != "" || len(problems(t, err)) != 1 || !strings.HasPrefix(err.Error(), "session must") && !strings.Contains(err.Error(), "reserved") {
				t.Fatalf("%q: %q with %v", in, name, err)
			}
			return
		}
		if string(name) != in || len(in) > 54 || !filepath.IsLocal(in) || filepath.Base(in) != in || strings.Trim(in, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-") != "" {
			t.Fatalf("%q became %q", in, name)
		}
	})
}

// FuzzDataPathJoin: an accepted address stays under whatever directory it is
// joined to.
func FuzzDataPathJoin(f *testing.F) {
	for _, seed := range []string{session.DefaultAddress, "a/b.db", "/app/data/a", "a/../../b", "..", "/etc/passwd", `a\..\b`, "a/./b", "\x00", "C:x", "a/.b"} {
		f.Add(seed)
	}
	const directory = "/srv/devices/tenant/session"
	f.Fuzz(func(t *testing.T, address string) {
		path, err := session.DataPath(address)
		if err != nil {
			return
		}
		relative, err := filepath.Rel(directory, filepath.Join(directory, filepath.FromSlash(path)))
		if err != nil || relative != path || !filepath.IsLocal(path) || path == "." {
			t.Fatalf("%q is %q, which is %q under the directory, %v", address, path, relative, err)
		}
	})
}

// FuzzDecodePhone: a body gives a number of 7 to 15 digits that were all in it,
// or names what is wrong.
func FuzzDecodePhone(f *testing.F) {
	for _, seed := range []string{
		`{"phone":"5511999999999"}`, `{"phoneNumber":"+55 (11) 99999-9999","method":"sms"}`, `{"phone":null,"phoneNumber":"1234567"}`,
		`{"phone":"1234567","phone":"7654321"}`, `{"phone":5511999999999}`, `{"phone":"\uff11234567"}`, ``, `[]`, `{"phone":"0123456789"}`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		phone, _, err := session.DecodePhone(body)
		if err != nil {
			if phone != "" || len(problems(t, err)) == 0 {
				t.Fatalf("%q: %q with %v", body, string(phone), err)
			}
			return
		}
		if len(phone) < 7 || len(phone) > 15 || phone[0] == '0' || strings.Trim(string(phone), "0123456789") != "" {
			t.Fatalf("%q became %q", body, string(phone))
		}
	})
}

// FuzzDecodeCreate: a session gets a name that the rules allow, or none.
func FuzzDecodeCreate(f *testing.F) {
	for _, seed := range []string{
		``, `{}`, `{"name":"shop"}`, `{"name":null,"start":false}`, `{"name":"sessions"}`, `{"name":"a b","start":"yes","config":7}`,
		`{"name":"a","config":{"store":{"dialect":"postgres"}}}`, `{"start":true,"start":false}`, `[]`, `{"name":"deleted-01a20410-1460-7dd7-b400-acd0a104f892"}`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		wish, err := session.DecodeCreate(data, session.Defaults{})
		if err != nil {
			return
		}
		if wish.Name != "" {
			if name, err := session.ParseName(string(wish.Name)); err != nil || name != wish.Name {
				t.Fatalf("%q names a session %q: %v", data, wish.Name, err)
			}
		}
		if config, err := session.DecodeUpdate(data, session.Defaults{}); (err == nil) != (wish.Config != nil) {
			t.Fatalf("%q has a config to create with, %v, and one to update with, %v: %v", data, wish.Config, config, err)
		}
	})
}
