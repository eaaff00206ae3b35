package fakesqs

import (
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync"
	"time"
)

// Server is any number of queues behind one address.
type Server struct {
	mu     sync.Mutex
	queues map[string]*Queue // guarded by mu; by name
	calls  map[string]int    // guarded by mu; by operation
	faults map[string]Fault  // guarded by mu; by operation, and "" for all
}

// Fault is what a call does instead of what it should.
type Fault func(http.ResponseWriter, *http.Request)

// New returns a server without queues.
func New() *Server {
	return &Server{queues: map[string]*Queue{}, calls: map[string]int{}, faults: map[string]Fault{}}
}

// Environment points the AWS SDK of a process at a server of the fake, with
// credentials that it takes.
func Environment(url string) []string {
	return []string{
		"AWS_ENDPOINT_URL_SQS=" + url, "AWS_REGION=eu-central-1", "AWS_ACCESS_KEY_ID=AKIDEXAMPLE", "AWS_SECRET_ACCESS_KEY=example",
		"AWS_EC2_METADATA_DISABLED=true", "AWS_CONFIG_FILE=" + os.DevNull, "AWS_SHARED_CREDENTIALS_FILE=" + os.DevNull,
	}
}

// account is the one that every queue is in.
const account = "000000000000"

// URL of a queue on a server at a base URL, such as http://127.0.0.1:9324.
func URL(base, queue string) string {
	return strings.TrimSuffix(base, "/") + "/" + account + "/" + queue
}

// Queue returns the queue of a name, and makes it where there is none.
func (s *Server) Queue(name string, settings Settings) *Queue {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.queues[name] == nil {
		s.queues[name] = newQueue(s, name, settings)
	}
	return s.queues[name]
}

// Calls is how often an operation was called, such as "SendMessage".
func (s *Server) Calls(operation string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.calls[operation]
}

// Breaks makes every call of an operation do this, until it is mended with nil;
// an empty name stands for all. Calls under way end as they began.
func (s *Server) Breaks(operation string, do Fault) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.faults[operation] = do
}

// HangsUp closes the connection.
func HangsUp(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }

// IsSilent answers when the caller has gone.
func IsSilent(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }

// Refuses answers with an error of SQS, such as "AccessDeniedException".
func Refuses(code string) Fault {
	return func(w http.ResponseWriter, _ *http.Request) {
		answerError(w, &failure{http.StatusBadRequest, code, "refused by the fake"})
	}
}

// IsDown answers as a service that is out of order.
func IsDown(w http.ResponseWriter, _ *http.Request) {
	answerError(w, &failure{http.StatusServiceUnavailable, "ServiceUnavailable", "out of order"})
}

// Do serves a request of a client in this process. It has no network: a fault
// that hangs up is an error, and so is the end of the request's context.
func (s *Server) Do(r *http.Request) (response *http.Response, err error) {
	defer func() {
		if value := recover(); value != nil {
			response, err = nil, errors.New("fakesqs: the connection was closed")
		}
	}()
	w := httptest.NewRecorder()
	s.ServeHTTP(w, r)
	if err := r.Context().Err(); err != nil {
		return nil, err
	}
	return w.Result(), nil
}

// ServeHTTP implements [http.Handler].
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body) // to its end: an answer before that costs the caller's connection
	operation, known := strings.CutPrefix(r.Header.Get("X-Amz-Target"), "AmazonSQS.")
	s.mu.Lock()
	s.calls[operation]++
	fault := s.faults[operation]
	if fault == nil {
		fault = s.faults[""]
	}
	s.mu.Unlock()
	if fault != nil {
		fault(w, r)
		return
	}
	do := operations[operation]
	authorization := r.Header.Get("Authorization")
	switch {
	case err != nil:
		return // there is nobody to answer
	case !known || r.Header.Get("Content-Type") != contentType:
		answerError(w, &failure{http.StatusBadRequest, "SerializationException", "no call in AWS JSON 1.0"})
		return
	case !strings.HasPrefix(authorization, "AWS4-HMAC-SHA256 ") || !strings.Contains(authorization, "/sqs/aws4_request"):
		answerError(w, &failure{http.StatusForbidden, "AccessDeniedException", "the request is not signed for sqs"})
		return
	case do == nil:
		answerError(w, &failure{http.StatusBadRequest, "UnsupportedOperation", "the fake has no " + operation})
		return
	}
	c := &call{server: s, r: r, now: time.Now()}
	if json.Unmarshal(body, &c.asked) != nil {
		answerError(w, &failure{http.StatusBadRequest, "SerializationException", "no JSON object"})
		return
	}
	answer, failed := do(c)
	if failed != nil {
		answerError(w, failed)
		return
	}
	w.Header().Set("Content-Type", contentType)
	_ = json.NewEncoder(w).Encode(answer)
}

const contentType = "application/x-amz-json-1.0"

// failure is an error answer.
type failure struct {
	status  int
	code    string
	message string
}

// legacyCodes are what errors were called when SQS spoke XML, where that differs:
// a header still says it.
var legacyCodes = map[string]string{
	"QueueDoesNotExist":            "AWS.SimpleQueueService.NonExistentQueue",
	"TooManyEntriesInBatchRequest": "AWS.SimpleQueueService.TooManyEntriesInBatchRequest",
	"EmptyBatchRequest":            "AWS.SimpleQueueService.EmptyBatchRequest",
	"BatchEntryIdsNotDistinct":     "AWS.SimpleQueueService.BatchEntryIdsNotDistinct",
	"UnsupportedOperation":         "AWS.SimpleQueueService.UnsupportedOperation",
}

func answerError(w http.ResponseWriter, f *failure) {
	legacy, ok := legacyCodes[f.code]
	if !ok {
		legacy = f.code
	}
	fault := "Sender"
	if f.status >= http.StatusInternalServerError {
		fault = "Receiver"
	}
	w.Header().Set("Content-Type", contentType)
	w.Header().Set("X-Amzn-Query-Error", legacy+";"+fault)
	w.WriteHeader(f.status)
	_ = json.NewEncoder(w).Encode(map[string]string{"__type": "com.amazonaws.sqs#" + f.code, "message": f.message})
}
