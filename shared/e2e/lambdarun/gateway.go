package lambdarun

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/aws/aws-lambda-go/events"
)

// Limits of an HTTP API, by its quotas in the API Gateway developer guide.
const (
	maxRequest         = 10 << 20 // bytes of a body
	integrationTimeout = 30 * time.Second
)

// gatewayHost is what a program is told that it is called.
const gatewayHost = "abc123.execute-api.us-east-1.amazonaws.com"

// Gateway is an HTTP API of API Gateway in front of a program: requests become
// events of payload format 2.0, and answers become responses. Each runtime
// serves one request at a time, as Lambda's processes do; a request waits for a
// free one.
//
// As the real one does, it sends header names in lower case, joins the values of
// a header with commas, takes cookies out of the headers, sends a body in base64
// unless its type is a text, and decodes the path: an encoded slash arrives as a
// slash.
type Gateway struct {
	idle  chan *Runtime
	room  chan struct{} // one for each program that may still be started
	start func(context.Context) (*Runtime, error)
}

// NewGateway returns a gateway over running programs, which stay the caller's.
func NewGateway(runtimes ...*Runtime) *Gateway {
	g := &Gateway{idle: make(chan *Runtime, len(runtimes))}
	for _, runtime := range runtimes {
		g.idle <- runtime
	}
	return g
}

// NewScalingGateway returns a gateway that starts another program whenever a
// request finds none idle, as Lambda does, up to its concurrency. One that has
// ended is replaced in the same way. Close ends them.
func NewScalingGateway(concurrency int, start func(context.Context) (*Runtime, error)) *Gateway {
	g := &Gateway{idle: make(chan *Runtime, concurrency), room: make(chan struct{}, concurrency), start: start}
	for range concurrency {
		g.room <- struct{}{}
	}
	return g
}

// Close ends the programs that the gateway has started. Requests must have ended.
func (g *Gateway) Close() error {
	var errs []error
	for {
		select {
		case runtime := <-g.idle:
			errs = append(errs, runtime.Stop())
		default:
			return errors.Join(errs...)
		}
	}
}

// ServeHTTP implements [http.Handler]. The gateway's own errors have its own
// body.
func (g *Gateway) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	event, err := eventOf(w, r)
	var tooLarge *http.MaxBytesError
	switch {
	case errors.As(err, &tooLarge):
		gatewayError(w, http.StatusRequestEntityTooLarge)
		return
	case err != nil:
		gatewayError(w, http.StatusBadRequest)
		return
	}
	answer, err := g.invoke(r, event)
	switch {
	case err != nil:
		gatewayError(w, http.StatusServiceUnavailable)
	case answer.Failure != nil:
		gatewayError(w, http.StatusInternalServerError)
	default:
		respond(w, answer.Payload)
	}
}

func (g *Gateway) invoke(r *http.Request, event []byte) (Answer, error) {
	runtime, err := g.take(r.Context())
	if err != nil {
		return Answer{}, err
	}
	defer g.giveBack(runtime)
	// A caller that leaves does not end the invocation.
	return runtime.Invoke(context.WithoutCancel(r.Context()), event)
}

// take returns a program that serves nobody else.
func (g *Gateway) take(ctx context.Context) (*Runtime, error) {
	select {
	case runtime := <-g.idle:
		return runtime, nil
	default:
	}
	timer := time.NewTimer(integrationTimeout)
	defer timer.Stop()
	select {
	case runtime := <-g.idle:
		return runtime, nil
	case <-g.room:
		runtime, err := g.start(context.WithoutCancel(ctx))
		if err != nil {
			g.room <- struct{}{}
		}
		return runtime, err
	case <-ctx.Done():
		return nil, ctx.Err()
	case <-timer.C:
		return nil, errors.New("no process was free in time")
	}
}

func (g *Gateway) giveBack(runtime *Runtime) {
	select {
	case <-runtime.exited:
		if g.room != nil {
			_ = runtime.Stop() // says only that it has ended
			g.room <- struct{}{}
			return
		}
	default:
	}
	g.idle <- runtime
}

func eventOf(w http.ResponseWriter, r *http.Request) ([]byte, error) {
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxRequest))
	if err != nil {
		return nil, fmt.Errorf("read the request: %w", err)
	}
	event := events.APIGatewayV2HTTPRequest{
		Version: "2.0", RouteKey: "$default", RawPath: r.URL.Path, RawQueryString: r.URL.RawQuery,
		Cookies: cookiesOf(r.Header), Headers: headersOf(r), QueryStringParameters: parametersOf(r),
	}
	event.RequestContext = events.APIGatewayV2HTTPRequestContext{
		RouteKey: "$default", AccountID: "000000000000", Stage: "$default", APIID: "abc123",
		DomainName: gatewayHost, DomainPrefix: "abc123", RequestID: requestID(), TimeEpoch: time.Now().UnixMilli(),
		HTTP: events.APIGatewayV2HTTPRequestContextHTTPDescription{
			Method: r.Method, Path: event.RawPath, Protocol: r.Proto, SourceIP: sourceOf(r), UserAgent: r.UserAgent(),
		},
	}
	event.Body = string(body)
	if !isText(r.Header.Get("Content-Type")) || !utf8.Valid(body) {
		event.Body, event.IsBase64Encoded = base64.StdEncoding.EncodeToString(body), len(body) > 0
	}
	return json.Marshal(event)
}

func headersOf(r *http.Request) map[string]string {
	headers := map[string]string{
		"host": gatewayHost, "x-forwarded-for": sourceOf(r), "x-forwarded-port": "443", "x-forwarded-proto": "https",
	}
	if r.ContentLength > 0 {
		headers["content-length"] = strconv.FormatInt(r.ContentLength, 10)
	}
	for name, values := range r.Header {
		if name != "Cookie" && name != "Connection" {
			headers[strings.ToLower(name)] = strings.Join(values, ",")
		}
	}
	return headers
}

func cookiesOf(header http.Header) (cookies []string) {
	for _, line := range header.Values("Cookie") {
		for cookie := range strings.SplitSeq(line, ";") {
			cookies = append(cookies, strings.TrimSpace(cookie))
		}
	}
	return cookies
}

func parametersOf(r *http.Request) map[string]string {
	parameters := map[string]string{}
	for name, values := range r.URL.Query() {
		parameters[name] = strings.Join(values, ",")
	}
	return parameters
}

func sourceOf(r *http.Request) string {
	host, _, _ := net.SplitHostPort(r.RemoteAddr)
	return host
}

// requestID has the form of the gateway's own, which ends in '='.
func requestID() string { return rand.Text()[:15] + "=" }

// isText reports whether the gateway passes a body of this type on as it is.
func isText(contentType string) bool {
	kind, _, _ := strings.Cut(strings.ToLower(contentType), ";")
	switch kind = strings.TrimSpace(kind); kind {
	case "application/json", "application/javascript", "application/xml":
		return true
	}
	return strings.HasPrefix(kind, "text/")
}

// respond writes what the program answered. Without a status code the whole
// payload would be the body; a program that relies on that is not served here.
func respond(w http.ResponseWriter, payload []byte) {
	var response events.APIGatewayV2HTTPResponse
	if err := json.Unmarshal(payload, &response); err != nil || response.StatusCode == 0 {
		gatewayError(w, http.StatusInternalServerError)
		return
	}
	body := []byte(response.Body)
	if response.IsBase64Encoded {
		decoded, err := base64.StdEncoding.DecodeString(response.Body)
		if err != nil {
			gatewayError(w, http.StatusInternalServerError)
			return
		}
		body = decoded
	}
	header := w.Header()
	for name, value := range response.Headers {
		header.Set(name, value)
	}
	for _, cookie := range response.Cookies {
		header.Add("Set-Cookie", cookie)
	}
	header.Set("Apigw-Requestid", requestID())
	w.WriteHeader(response.StatusCode)
	_, _ = w.Write(body) // the caller may have gone
}

func gatewayError(w http.ResponseWriter, status int) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(map[string]string{"message": http.StatusText(status)})
}
