package conformance

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/wafleet/wafleet/shared/e2e/bootstrap"
	"github.com/wafleet/wafleet/shared/e2e/contract"
	"github.com/wafleet/wafleet/shared/e2e/lambdarun"
)

// lambdas is how many requests the Lambda door serves at once.
const lambdas = 4

// door is one way to the API.
type door struct {
	*system
	name    string
	address string // host:port
	client  *http.Client
	decodes bool // paths, before the program sees them
	hurried bool // answers are not held against the published document
}

func (s *system) newDoor(name, address string) *door {
	client := &http.Client{
		Transport:     &http.Transport{MaxIdleConnsPerHost: 64, DisableCompression: true},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	s.Cleanup(client.CloseIdleConnections)
	return &door{system: s, name: name, address: address, client: client}
}

// newListener runs the listener; env lines come last, and count.
func (s *system) newListener(env ...string) *door {
	s.Helper()
	p := s.launch(program("api"), []string{"-listen", "127.0.0.1:0"}, s.apiEnv(append([]string{"DATA_DIR=" + s.data}, env...)...)...)
	return s.newDoor("listener", p.await(`"msg":"listening","address":"([^"]+)"`))
}

func (s *system) newLambda() *door {
	s.Helper()
	var runtimes []*lambdarun.Runtime
	for range lambdas {
		log := s.newLog("lambda")
		runtime, err := lambdarun.Start(s.Context(), lambdarun.Config{Bootstrap: program("api"), Log: log, Env: s.apiEnv("SQLITE_AVAILABLE=true", quickExit)})
		if err != nil {
			s.Fatalf("%v\n%s", err, log)
		}
		s.Cleanup(func() {
			if err := runtime.Stop(); err != nil {
				s.Errorf("stop of a Lambda: %v\n%s", err, bootstrap.Tail(log.String()))
			}
		})
		runtimes = append(runtimes, runtime)
	}
	server := httptest.NewServer(lambdarun.NewGateway(runtimes...))
	s.Cleanup(server.Close)
	d := s.newDoor("lambda", server.Listener.Addr().String())
	d.decodes = true
	return d
}

func (s *system) apiEnv(env ...string) []string {
	return append([]string{"DATABASE_URL=" + s.url, "LOG_LEVEL=DEBUG", "RATE_LIMIT_PER_SECOND=0", "SECRETS_KEY_FILE=" + s.key}, env...)
}

// request is one call; the zero value of a field is the usual.
type request struct {
	method string // GET where empty
	path   string // as on the wire
	key    string // none where empty
	body   string
	header http.Header
}

// answer is what came back.
type answer struct {
	status int
	header http.Header
	body   []byte
	fields map[string]any // nil where the body is no object
}

func (a answer) text(field string) string {
	text, _ := a.fields[field].(string)
	return text
}

// code is the word of an error, empty where it is none.
func (a answer) code() string {
	if a.status < http.StatusBadRequest {
		return ""
	}
	return a.text("code")
}

// ask sends a request. Trouble of the transport is status 0.
func (d *door) ask(r request) answer {
	a, err := d.try(d.Context(), r)
	if err != nil {
		return answer{body: []byte(err.Error())}
	}
	return a
}

func (d *door) try(ctx context.Context, r request) (answer, error) {
	if r.method == "" {
		r.method = http.MethodGet
	}
	out, err := http.NewRequestWithContext(ctx, r.method, "http://"+d.address+r.path, strings.NewReader(r.body))
	if err != nil {
		return answer{}, err
	}
	if r.key != "" {
		out.Header.Set("Apikey", r.key)
	}
	for name, values := range r.header {
		out.Header[name] = values
	}
	in, err := d.client.Do(out)
	if err != nil {
		return answer{}, err
	}
	defer in.Body.Close()
	a := answer{status: in.StatusCode, header: in.Header.Clone()}
	if a.body, err = io.ReadAll(in.Body); err != nil {
		return answer{}, err
	}
	if !d.hurried {
		in.Body = io.NopCloser(bytes.NewReader(a.body))
		d.holdAgainstDocument(out, in)
	}
	return d.note(a), nil
}

// holdAgainstDocument looks at what the program was asked and what it answered.
func (d *door) holdAgainstDocument(asked *http.Request, answered *http.Response) {
	if answered.Header.Del("Apigw-Requestid"); d.decodes {
		asked.URL.RawPath = ""
	}
	contract.Check(d.TB, asked, answered)
}

// note decodes a body, and keeps it where it is an error's.
func (d *door) note(a answer) answer {
	if json.Unmarshal(a.body, &a.fields) != nil {
		a.fields = nil
	}
	if a.status >= http.StatusBadRequest {
		d.mu.Lock()
		defer d.mu.Unlock()
		d.errors = append(d.errors, string(a.body))
	}
	return a
}

// want asks and ends the test on any other status.
func (d *door) want(status int, r request) answer {
	d.Helper()
	a := d.ask(r)
	if a.status != status {
		d.Fatalf("%s: %s %s answered %d, want %d: %s", d.name, r.method, r.path, a.status, status, bytes.TrimSpace(a.body))
	}
	return a
}

// atBothDoors runs a subtest at each.
func (s *system) atBothDoors(t *testing.T, test func(*testing.T, *door)) {
	t.Helper()
	for _, d := range s.doors() {
		t.Run(d.name, func(t *testing.T) { test(t, d) })
	}
}
