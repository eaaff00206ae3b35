package protect

import (
	"context"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"sync"
	"testing"
	"time"
)

// What the agent answers, from the Amazon ECS developer guide.
const (
	notValid = `{"failure":{"Arn":"arn:aws:ecs:us-west-2:012345678910:task/default/1","Detail":"","Reason":"TASK_NOT_VALID"}}`
	denied   = `{"requestID":"12345-abc-6789-0123-abc","error":{"Arn":"arn:aws:ecs:us-west-2:012345678910:task/default/1","Code":"AccessDeniedException","Message":"no permission"}}`
)

// asked is a request that reached the agent.
type asked struct {
	at      time.Duration // since the agent was made
	enabled bool
	minutes int
}

// fakeAgent keeps a task's protection as ECS would, and plays its failures.
type fakeAgent struct {
	t    *testing.T
	born time.Time

	mu     sync.Mutex
	got    []asked                                          // guarded by mu
	until  time.Time                                        // guarded by mu
	answer func(http.ResponseWriter, *http.Request, func()) // guarded by mu; nil: does it. The function does it, without an answer
}

func newFakeAgent(t *testing.T) *fakeAgent { return &fakeAgent{t: t, born: time.Now()} }

func (f *fakeAgent) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	var put struct {
		ProtectionEnabled *bool
		ExpiresInMinutes  *int
	}
	if err != nil || json.Unmarshal(body, &put) != nil || put.ProtectionEnabled == nil || r.Method != http.MethodPut ||
		r.URL.Path != "/api/c0ffee/task-protection/v1/state" || r.Header.Get("Content-Type") != "application/json" {
		f.t.Errorf("%s %s %s %s, error %v", r.Method, r.URL, r.Header, body, err)
	}
	one := asked{at: time.Since(f.born), enabled: *put.ProtectionEnabled}
	if put.ExpiresInMinutes != nil {
		one.minutes = *put.ExpiresInMinutes
	}
	f.mu.Lock()
	f.got = append(f.got, one)
	answer := f.answer
	f.mu.Unlock()
	do := func() {
		f.mu.Lock()
		defer f.mu.Unlock()
		f.until = time.Now().Add(time.Duration(one.minutes) * time.Minute)
	}
	if answer != nil {
		answer(w, r, do)
		return
	}
	do()
	state := map[string]any{"ProtectionEnabled": one.enabled, "TaskArn": "arn:aws:ecs:us-west-2:012345678910:task/default/1"}
	if one.enabled {
		state["ExpirationDate"] = time.Now().Add(protectFor).Format(time.RFC3339)
	}
	_ = json.NewEncoder(w).Encode(map[string]any{"protection": state})
}

func (f *fakeAgent) set(answer func(http.ResponseWriter, *http.Request, func())) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.answer = answer
}

// says lets the agent do nothing and answer that.
func (f *fakeAgent) says(status int, body string) {
	f.set(func(w http.ResponseWriter, _ *http.Request, _ func()) {
		w.WriteHeader(status)
		_, _ = io.WriteString(w, body)
	})
}

func (f *fakeAgent) protected() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return time.Now().Before(f.until)
}

// take returns the requests since the last call.
func (f *fakeAgent) take() []asked {
	f.mu.Lock()
	defer f.mu.Unlock()
	got := f.got
	f.got = nil
	return got
}

// pipes is a network that synctest can see through: what waits on it is idle.
type pipes struct {
	incoming chan net.Conn
	closed   chan struct{}
	once     sync.Once
}

func newPipes() *pipes { return &pipes{incoming: make(chan net.Conn), closed: make(chan struct{})} }

func (p *pipes) Accept() (net.Conn, error) {
	select {
	case conn := <-p.incoming:
		return conn, nil
	case <-p.closed:
		return nil, net.ErrClosed
	}
}

func (p *pipes) Close() error {
	p.once.Do(func() { close(p.closed) })
	return nil
}

func (p *pipes) Addr() net.Addr { return &net.IPAddr{} }

func (p *pipes) dial(ctx context.Context, _, _ string) (net.Conn, error) {
	near, far := net.Pipe()
	select {
	case p.incoming <- far:
		return near, nil
	case <-p.closed:
		return nil, net.ErrClosed
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}
