package conformance

import (
	"encoding/json"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"sync"
)

// fixture is a session in a state, or a name that is none.
type fixture struct {
	in      state
	name    string
	dialect string
	number  string // of the phone that linked it, or would
	jid     string // of its device, empty where none is linked
	id      string // of its row, empty where there is none
}

// newFixture makes a name up; the session is made by bring.
func (s *system) newFixture(in state) *fixture {
	n := s.numbers.Add(1)
	f := &fixture{in: in, name: fmt.Sprint("s", n), dialect: "postgres", number: fmt.Sprintf("55119%08d", 77000000+n)}
	if n%2 == 0 {
		f.dialect = "sqlite3"
	}
	if in == badName {
		f.name = fmt.Sprint("no.name.", n)
	}
	return f
}

// otherDialect is a store that the session does not use.
func (f fixture) otherDialect() string {
	if f.dialect == "postgres" {
		return "sqlite3"
	}
	return "postgres"
}

// config is a body with a config that has secrets in it.
func config(dialect, level string, more map[string]any) string {
	fields := map[string]any{
		"store": map[string]string{"dialect": dialect}, "log": map[string]string{"level": level},
		"webhooks": []any{map[string]any{
			"url": "https://hooks.example.com/a", "events": []string{"message"},
			"hmac":          map[string]string{"key": webhookKey},
			"customHeaders": []any{map[string]string{"name": "X-Token", "value": headerValue}},
		}},
	}
	body := map[string]any{"config": fields}
	for name, value := range more {
		if name == "proxy" {
			fields["proxy"] = value
			continue
		}
		body[name] = value
	}
	text, err := json.Marshal(body)
	if err != nil {
		panic(err) // maps of strings always encode
	}
	return string(text)
}

// Bodies of the contract's rows.
func newConfig(f fixture) string  { return config(f.dialect, "ERROR", nil) }
func otherStore(f fixture) string { return config(f.otherDialect(), "INFO", nil) }
func creation(f fixture) string {
	return config(f.dialect, "INFO", map[string]any{"name": f.name})
}
func phone(f fixture) string { return fmt.Sprintf(`{"phone":"+%s"}`, f.number) }

// bring brings a session into its state, through the API.
func (s *system) bring(f *fixture, stuckProxy string) {
	s.Helper()
	start := request{method: "POST", path: "/api/sessions/" + f.name + "/start", body: config(f.dialect, "DEBUG", nil)}
	switch f.in {
	case stopped:
		s.owner(request{method: "POST", path: "/api/sessions", body: config(f.dialect, "DEBUG", map[string]any{"name": f.name, "start": false})})
	case starting:
		proxy := map[string]string{"server": "http://" + stuckProxy, "username": "me", "password": proxyPassword}
		start.body = config(f.dialect, "DEBUG", map[string]any{"proxy": proxy})
		s.owner(start)
		s.held(f, true)
	case scan, failed:
		s.owner(start)
		s.becomes(f, f.in)
	case working, stoppedLinked, failedLinked:
		s.owner(start)
		s.becomes(f, scan)
		s.link(f)
	}
	switch f.in {
	case stoppedLinked:
		s.owner(request{method: "POST", path: "/api/sessions/" + f.name + "/stop"})
		s.held(f, false)
	case failedLinked:
		s.replace(f)
		s.held(f, false)
	case failed:
		s.held(f, false)
	}
	s.identify(f)
}

// owner asks for something that must succeed.
func (s *system) owner(r request) answer {
	s.Helper()
	r.key = s.tenant.key
	a := s.listener.ask(r)
	if a.status != 200 && a.status != 201 {
		s.Errorf("preparation: %s %s: %d %s", r.method, r.path, a.status, a.body)
	}
	return a
}

func (s *system) link(f *fixture) {
	s.Helper()
	qr := s.owner(request{path: "/api/" + f.name + "/auth/qr?format=raw"}).text("value")
	s.secret(qr)
	s.secret(f.number)
	jid, err := s.sim.Scan(f.number, qr)
	if err != nil {
		s.Errorf("scan of %s: %v", f.name, err)
	}
	f.jid = jid
	s.becomes(f, working)
}

// replace logs another program in as the session's device.
func (s *system) replace(f *fixture) {
	s.Helper()
	if n, err := s.sim.ConnectAs(f.jid); n != 1 || err != nil {
		s.Errorf("%s: %d sockets were replaced, error %v", f.name, n, err)
	}
	s.becomes(f, failed)
}

// becomes waits for a status.
func (s *system) becomes(f *fixture, want state) {
	s.Helper()
	var last answer
	if !s.eventually(func() bool {
		last = s.owner(request{path: "/api/sessions/" + f.name})
		return last.text("status") == want.status()
	}) {
		s.Errorf("%s did not become %s: %s", f.name, want, last.body)
	}
}

// held waits until a connector holds the session, or none does.
func (s *system) held(f *fixture, want bool) {
	s.Helper()
	if !s.eventually(func() bool {
		return (s.owner(request{path: "/api/sessions/" + f.name}).fields["assignedWorker"] != nil) == want
	}) {
		s.Errorf("that a connector holds %s is not %v", f.name, want)
	}
}

// identify notes the session's row and that its device lives where it should.
func (s *system) identify(f *fixture) {
	s.Helper()
	if !f.in.exists() {
		return
	}
	ids := s.texts(`SELECT id::text FROM session WHERE tenant_id = $1 AND name = $2`, s.tenant.id, f.name)
	if len(ids) != 1 {
		s.Errorf("%s has %d rows", f.name, len(ids))
		return
	}
	f.id = ids[0]
	// A holder opens the store soon after it has claimed.
	files := s.eventually(func() bool { return s.hasFiles(*f) == (f.dialect == "sqlite3" && f.in != stopped) })
	if !files || f.in.linked() != s.known(f.jid) {
		s.Errorf("%s, %s in %s: device %v, files %v", f.name, f.in, f.dialect, s.known(f.jid), s.hasFiles(*f))
	}
}

// known reports whether WhatsApp knows the device.
func (s *system) known(jid string) bool {
	for _, device := range s.sim.Devices() {
		if device.JID == jid {
			return true
		}
	}
	return false
}

// hasFiles reports whether anything of the session is under DATA_DIR.
func (s *system) hasFiles(f fixture) bool {
	_, err := os.Lstat(filepath.Join(s.data, string(s.tenant.id), f.id))
	return err == nil
}

// stuckProxy takes connections and never says a word.
func (s *system) stuckProxy() (address string) {
	s.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		s.Fatal(err)
	}
	var accepting sync.WaitGroup
	var taken []net.Conn // of the goroutine, until it has ended
	accepting.Go(func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			taken = append(taken, conn)
		}
	})
	s.Cleanup(func() {
		listener.Close()
		accepting.Wait()
		for _, conn := range taken {
			conn.Close()
		}
	})
	return listener.Addr().String()
}

// prepare brings many sessions into their states: first those that nobody
// scans, by a connector whose codes run out at once, then the rest.
func (s *system) prepare(fixtures []*fixture) {
	s.Helper()
	const atOnce = 8
	var early, late []*fixture
	for _, f := range fixtures {
		if f.in == failed {
			early = append(early, f)
		} else {
			late = append(late, f)
		}
	}
	impatient := s.connector("QR_FIRST=100ms", "QR_NEXT=20ms")
	each(early, atOnce, func(f *fixture) { s.bring(f, "") })
	impatient.end()
	s.connector()
	proxy := s.stuckProxy()
	each(late, atOnce, func(f *fixture) { s.bring(f, proxy) })
	if s.Failed() {
		s.FailNow()
	}
}
