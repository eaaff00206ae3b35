package main

import (
	"bytes"
	"compress/gzip"
	"encoding/base64"
	"encoding/json"
	"io"
	"net/http"
	"strconv"
	"strings"
	"testing"

	"github.com/aws/aws-lambda-go/events"
)

// withHeaders is an event with more headers, in the lower case of the gateway.
func withHeaders(t *testing.T, event []byte, headers map[string]string) []byte {
	t.Helper()
	var request map[string]any
	if err := json.Unmarshal(event, &request); err != nil {
		t.Fatal(err)
	}
	for name, value := range headers {
		request["headers"].(map[string]any)[name] = value
	}
	encoded, err := json.Marshal(request)
	if err != nil {
		t.Fatal(err)
	}
	return encoded
}

func (f *lambdaFunction) sendWith(event []byte, headers map[string]string) events.APIGatewayV2HTTPResponse {
	f.Helper()
	response, _ := f.send(withHeaders(f.T, event, headers))
	return response
}

// TestCompressedAnswersUnderLambda: the gateway passes on the bytes of a body
// that is marked as base64, and only those.
func TestCompressedAnswersUnderLambda(t *testing.T) {
	t.Parallel()
	f := newLambda(t, "lambda.norpc")
	page := changed(t, "get", http.MethodGet, "/", "")
	plain := f.sendWith(page, map[string]string{"accept-encoding": "identity"})
	if plain.IsBase64Encoded || plain.Headers["Content-Encoding"] != "" || plain.Headers["Vary"] != "Accept-Encoding" {
		t.Errorf("%v", plain.Headers)
	}
	zipped := f.sendWith(page, map[string]string{"accept-encoding": "gzip, deflate, br"})
	body, err := base64.StdEncoding.DecodeString(zipped.Body)
	if err != nil || !zipped.IsBase64Encoded || zipped.StatusCode != http.StatusOK || zipped.Headers["Content-Encoding"] != "gzip" || zipped.Headers["Content-Length"] != strconv.Itoa(len(body)) {
		t.Fatalf("%d %v, base64 %v, error %v", zipped.StatusCode, zipped.Headers, zipped.IsBase64Encoded, err)
	}
	reader, err := gzip.NewReader(bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	if text, err := io.ReadAll(reader); err != nil || string(text) != plain.Body {
		t.Errorf("%d bytes, error %v", len(text), err)
	}
	if head := f.sendWith(changed(t, "get", http.MethodHead, "/", ""), map[string]string{"accept-encoding": "gzip"}); head.Body != "" || head.StatusCode != http.StatusOK {
		t.Errorf("HEAD: %d %q", head.StatusCode, head.Body)
	}
}

// TestConductUnderLambda: what depends on headers works through the proxy too.
func TestConductUnderLambda(t *testing.T) {
	t.Parallel()
	f := newLambda(t, "lambda.norpc")
	key := map[string]string{"idempotency-key": "k"}
	first, again := f.sendWith(eventFile(t, "start"), key), f.sendWith(eventFile(t, "start"), key)
	if first.StatusCode != http.StatusCreated || again.StatusCode != http.StatusCreated || again.Body != first.Body || again.Headers["Idempotency-Replayed"] != "true" {
		t.Errorf("%d, then %d %v %s", first.StatusCode, again.StatusCode, again.Headers, again.Body)
	}
	for _, wrong := range []string{"a\r\nb", "\x00", "ü", ""} {
		a := f.sendWith(eventFile(t, "start"), map[string]string{"idempotency-key": wrong, "x-request-id": "a\r\nX-Evil: b"})
		if a.StatusCode != http.StatusBadRequest || !strings.Contains(a.Body, "Idempotency-Key") || strings.Contains(a.Headers["X-Request-Id"], "Evil") {
			t.Errorf("%q: %d %v %s", wrong, a.StatusCode, a.Headers, a.Body)
		}
	}
	etag := f.sendWith(eventFile(t, "get"), nil).Headers["Etag"]
	unchanged := f.sendWith(eventFile(t, "get"), map[string]string{"if-none-match": etag})
	if etag == "" || unchanged.StatusCode != http.StatusNotModified || unchanged.Body != "" || unchanged.Headers["Etag"] != etag || unchanged.Headers["Cache-Control"] != "no-store" {
		t.Errorf("%q: %d %v", etag, unchanged.StatusCode, unchanged.Headers)
	}
	if a := f.sendWith(eventFile(t, "start"), map[string]string{"content-encoding": "gzip"}); a.StatusCode != http.StatusUnsupportedMediaType {
		t.Errorf("%d %s", a.StatusCode, a.Body)
	}
}
