package main

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/wafleet/wafleet/shared/e2e/bootstrap"
	"github.com/wafleet/wafleet/shared/e2e/lambdarun"
	"github.com/wafleet/wafleet/shared/session"
	"github.com/wafleet/wafleet/shared/store"
)

// told is what CloudFormation was told.
type told struct {
	Status, Reason, PhysicalResourceID, RequestID, StackID, LogicalResourceID string

	Data map[string]string
}

// bucket is where CloudFormation waits for answers: an S3 that takes them by PUT.
type bucket struct {
	*httptest.Server
	answers chan told
	broken  bool
}

func newBucket(t *testing.T) *bucket {
	t.Helper()
	b := &bucket{answers: make(chan told, 10)}
	b.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var answer told
		text, err := io.ReadAll(r.Body)
		if err != nil || json.Unmarshal(text, &answer) != nil || r.Method != http.MethodPut || r.URL.Query().Get("X-Amz-Signature") != "hidden-signature" || r.Header.Get("Content-Type") != "" {
			t.Errorf("%s %s: %s, error %v", r.Method, r.URL.Path, text, err)
		}
		if b.broken {
			w.WriteHeader(http.StatusForbidden)
			return
		}
		b.answers <- answer
	}))
	t.Cleanup(b.Close)
	return b
}

// function is the built program under the harness of Lambda's runtime API.
type function struct {
	*testing.T
	*lambdarun.Runtime
	*bucket
	log *bootstrap.Output
}

func newFunction(t *testing.T, timeout time.Duration, env ...string) *function {
	t.Helper()
	f := &function{T: t, bucket: newBucket(t), log: &bootstrap.Output{}}
	var err error
	f.Runtime, err = lambdarun.Start(t.Context(), lambdarun.Config{Bootstrap: bootstrap.Build(t, "lambda.norpc"), Log: f.log, Env: env, Timeout: timeout})
	if err != nil {
		t.Fatalf("%v\n%s", err, f.log)
	}
	t.Cleanup(func() {
		if err := f.Stop(); err != nil {
			t.Errorf("stop: %v\n%s", err, f.log)
		}
		if strings.Contains(f.log.String(), "hidden") {
			t.Errorf("a secret is in the log: %s", f.log)
		}
	})
	return f
}

// send delivers an event file, with this test's bucket in it.
func (f *function) send(name string) lambdarun.Answer {
	f.Helper()
	event, err := os.ReadFile(filepath.Join("events", name+".json"))
	if err != nil {
		f.Fatal(err)
	}
	text := strings.ReplaceAll(string(event), "http://127.0.0.1:9/response", f.URL+"/response?X-Amz-Signature=hidden-signature")
	answer, err := f.Invoke(f.Context(), []byte(text))
	if err != nil {
		f.Fatalf("%s: %v\n%s", name, err, f.log)
	}
	return answer
}

// resource delivers a request of CloudFormation and returns what it was told.
func (f *function) resource(name string) told {
	f.Helper()
	if answer := f.send(name); answer.Failure != nil {
		f.Fatalf("%s: %s\n%s", name, answer.Failure, f.log)
	}
	if len(f.answers) != 1 {
		f.Fatalf("%s: %d answers", name, len(f.answers))
	}
	got := <-f.answers
	if got.PhysicalResourceID != "wafleet-schema" || got.RequestID != "5f0a1b9e-7f0c-4a39-8e7c-2f1f6a2f3a10" || got.LogicalResourceID != "Migration" || got.StackID == "" {
		f.Errorf("%s: %+v", name, got)
	}
	return got
}

func migratedBy(t *testing.T, url string) bool {
	t.Helper()
	opened, err := store.Open(url, store.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer opened.Close()
	_, err = opened.FleetStatus(t.Context())
	if err != nil && !errors.Is(err, store.ErrSchema) {
		t.Fatal(err)
	}
	return err == nil
}

func withPassword(t *testing.T, at, password string) string {
	t.Helper()
	u, err := url.Parse(at)
	if err != nil {
		t.Fatal(err)
	}
	u.User = url.UserPassword(u.User.Username(), password)
	return u.String()
}

func TestACustomResource(t *testing.T) {
	t.Parallel()
	url := direct(t)
	f := newFunction(t, 0, "DATABASE_URL="+url)
	if got := f.resource("delete"); got.Status != "SUCCESS" || migratedBy(t, url) {
		t.Errorf("delete before anything: %+v", got)
	}
	// Twice, as Lambda delivers what it is in doubt about.
	for _, name := range []string{"create", "create", "update"} {
		if got := f.resource(name); got.Status != "SUCCESS" || len(got.Data["SchemaVersion"]) == 0 || got.Data["SchemaVersion"] == "0" || !migratedBy(t, url) {
			t.Errorf("%s: %+v", name, got)
		}
	}
	if got := f.resource("delete"); got.Status != "SUCCESS" || !migratedBy(t, url) {
		t.Errorf("delete touched the database: %+v", got)
	}
	t.Logf("cold start %s", f.ColdStart())
}

func TestByHand(t *testing.T) {
	t.Parallel()
	url := direct(t)
	f := newFunction(t, 0, "DATABASE_URL="+url)
	if answer := f.send("migrate"); answer.Failure != nil || !strings.HasPrefix(string(answer.Payload), `{"schemaVersion":`) || !migratedBy(t, url) {
		t.Errorf("%s %s", answer.Payload, answer.Failure)
	}
	for event, fine := range map[string]bool{
		`{}`: true, `{"command":"drop"}`: false, `{"source":"aws.events"}`: false, `[]`: false, `"x"`: false, `{"RequestType":"Create"}`: false,
	} {
		answer, err := f.Invoke(t.Context(), []byte(event))
		if err != nil || (answer.Failure == nil) != fine {
			t.Errorf("%s: %s %s %v", event, answer.Payload, answer.Failure, err)
		}
	}
}

func TestAFailureIsTold(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct{ env, says string }{
		"the environment": {"DATABASE_URL=mysql://u:hidden@h/x", "the environment is wrong: DATABASE_URL must be"},
		"the password":    {"DATABASE_URL=" + withPassword(t, direct(t), "hidden"), "password authentication failed"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := newFunction(t, 0, test.env)
			if got := f.resource("create"); got.Status != "FAILED" || !strings.Contains(got.Reason, test.says) || strings.Contains(got.Reason, "hidden") {
				t.Errorf("%+v", got)
			}
		})
	}
}

// TestASilentDatabase: the answer comes before the function's own timeout.
func TestASilentDatabase(t *testing.T) {
	t.Parallel()
	silent, err := net.Listen("tcp", "127.0.0.1:0") // takes connections, says nothing
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	f := newFunction(t, 4*time.Second, "DATABASE_URL=postgres://u:hidden@"+silent.Addr().String()+"/x?sslmode=disable")
	if got := f.resource("create"); got.Status != "FAILED" || !strings.Contains(got.Reason, "in time") {
		t.Errorf("%+v", got)
	}
}

// TestAnAnswerThatIsLost: Lambda is told, so that it delivers again.
func TestAnAnswerThatIsLost(t *testing.T) {
	t.Parallel()
	f := newFunction(t, 0, "DATABASE_URL="+direct(t))
	f.broken = true
	if answer := f.send("create"); !strings.Contains(string(answer.Failure), "tell CloudFormation") {
		t.Errorf("%s %s", answer.Payload, answer.Failure)
	}
	f.Close()
	if answer := f.send("create"); !strings.Contains(string(answer.Failure), "tell CloudFormation") || strings.Contains(string(answer.Failure), "hidden") {
		t.Errorf("%s %s", answer.Payload, answer.Failure)
	}
}

// TestWorkThatDoesNotEnd: also what listens to no context holds up no answer.
func TestWorkThatDoesNotEnd(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		forever := make(chan struct{})
		m := newMigrator(config{Timeout: time.Hour}, nil, slog.New(slog.DiscardHandler))
		m.work = func(context.Context) (int64, error) {
			<-forever
			return 0, session.ErrUnavailable
		}
		ctx, cancel := context.WithTimeout(t.Context(), 15*time.Minute)
		defer cancel()
		started := time.Now()
		if _, err := m.migrate(ctx); !errors.Is(err, errTimeout) {
			t.Errorf("error %v", err)
		}
		if took := time.Since(started); took < 14*time.Minute || took > 15*time.Minute-reserve/2 {
			t.Errorf("took %s of 15m", took)
		}
		close(forever)
		synctest.Wait()
	})
}
