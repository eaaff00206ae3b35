package lambdarun

import (
	"fmt"
	"io"
	"net/http"
	"strconv"
	"sync"
	"time"
)

// maxPayload is Lambda's limit for a synchronous answer, in bytes.
const maxPayload = 6 << 20

// invocation is one event on its way.
type invocation struct {
	event []byte
	done  chan Answer // one slot, so that a late answer blocks nobody
	since time.Time
}

// api is the HTTP side of the runtime.
type api struct {
	timeout    time.Duration
	events     chan *invocation
	ready      chan time.Duration
	initFailed chan string

	mu       sync.Mutex // guards what follows
	started  time.Time  // of the process
	count    int
	asked    bool // the first event was asked for
	sigterm  bool // an extension is registered
	inFlight map[string]*invocation
}

func newAPI(timeout time.Duration) *api {
	return &api{
		timeout: timeout, events: make(chan *invocation), ready: make(chan time.Duration, 1),
		initFailed: make(chan string, 1), inFlight: map[string]*invocation{},
	}
}

func (a *api) routes() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /2018-06-01/runtime/invocation/next", a.next)
	mux.HandleFunc("POST /2018-06-01/runtime/invocation/{id}/response", func(w http.ResponseWriter, r *http.Request) {
		a.finish(w, r, func(body []byte) Answer { return Answer{Payload: body} })
	})
	mux.HandleFunc("POST /2018-06-01/runtime/invocation/{id}/error", func(w http.ResponseWriter, r *http.Request) {
		a.finish(w, r, func(body []byte) Answer { return Answer{Failure: body} })
	})
	mux.HandleFunc("POST /2018-06-01/runtime/init/error", a.initError)
	mux.HandleFunc("POST /2020-01-01/extension/register", a.register)
	mux.HandleFunc("GET /2020-01-01/extension/event/next", func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() })
	return mux
}

// next holds the call until there is an event, as the real one does.
func (a *api) next(w http.ResponseWriter, r *http.Request) {
	a.markReady()
	select {
	case in := <-a.events:
		id := a.begin(in)
		header := w.Header()
		header.Set("Content-Type", "application/json")
		header.Set("Lambda-Runtime-Aws-Request-Id", id)
		header.Set("Lambda-Runtime-Deadline-Ms", strconv.FormatInt(in.since.Add(a.timeout).UnixMilli(), 10))
		header.Set("Lambda-Runtime-Invoked-Function-Arn", "arn:aws:lambda:us-east-1:000000000000:function:local")
		header.Set("Lambda-Runtime-Trace-Id", "Root=1-00000000-000000000000000000000000;Sampled=0")
		_, _ = w.Write(in.event)
	case <-r.Context().Done():
	}
}

func (a *api) markStarted() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.started = time.Now()
}

func (a *api) age() time.Duration {
	a.mu.Lock()
	defer a.mu.Unlock()
	return time.Since(a.started)
}

func (a *api) markReady() {
	a.mu.Lock()
	defer a.mu.Unlock()
	if !a.asked {
		a.asked = true
		a.ready <- time.Since(a.started)
	}
}

func (a *api) begin(in *invocation) (id string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.count++
	id = fmt.Sprintf("00000000-0000-4000-8000-%012d", a.count)
	in.since = time.Now()
	a.inFlight[id] = in
	return id
}

func (a *api) finish(w http.ResponseWriter, r *http.Request, answerOf func([]byte) Answer) {
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxPayload))
	if err != nil {
		http.Error(w, `{"errorType":"RequestEntityTooLarge"}`, http.StatusRequestEntityTooLarge)
		return
	}
	a.mu.Lock()
	in := a.inFlight[r.PathValue("id")]
	delete(a.inFlight, r.PathValue("id"))
	a.mu.Unlock()
	if in == nil {
		http.Error(w, `{"errorType":"InvalidRequestID"}`, http.StatusBadRequest)
		return
	}
	answer := answerOf(body)
	answer.Took = time.Since(in.since)
	in.done <- answer
	w.WriteHeader(http.StatusAccepted)
}

func (a *api) initError(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(io.LimitReader(r.Body, maxPayload))
	select {
	case a.initFailed <- string(body):
	default: // only the first is of interest
	}
	w.WriteHeader(http.StatusAccepted)
}

func (a *api) register(w http.ResponseWriter, r *http.Request) {
	if r.Header.Get("Lambda-Extension-Name") == "" {
		http.Error(w, `{"errorType":"Extension.MissingName"}`, http.StatusBadRequest)
		return
	}
	a.mu.Lock()
	a.sigterm = true
	a.mu.Unlock()
	w.Header().Set("Lambda-Extension-Identifier", "00000000-0000-4000-8000-000000000000")
	_, _ = io.WriteString(w, `{"functionName":"local","functionVersion":"$LATEST","handler":"bootstrap"}`)
}

// wantsSIGTERM: without a registered extension Lambda sends only SIGKILL.
func (a *api) wantsSIGTERM() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.sigterm
}
