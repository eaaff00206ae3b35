package main

import (
	"bytes"
	"compress/gzip"
	"encoding/base64"
	"encoding/json"
	"io"
	"net/http"
	"testing"

	"github.com/aws/aws-lambda-go/events"
)

// TestTheContractThroughTheProxy: the document and the page's files arrive whole
// from a Lambda, text as text and what is compressed in base64.
func TestTheContractThroughTheProxy(t *testing.T) {
	t.Parallel()
	f := newLambda(t, "lambda.norpc")
	response, document := f.send(changed(t, "no-key", http.MethodGet, "/openapi.json", ""))
	if response.StatusCode != http.StatusOK || response.IsBase64Encoded || document["openapi"] != "3.1.0" {
		t.Errorf("document: %d, base64 %v, version %v", response.StatusCode, response.IsBase64Encoded, document["openapi"])
	}
	again, _ := f.send(withHeader(t, changed(t, "no-key", http.MethodGet, "/openapi.json", ""), "if-none-match", response.Headers["Etag"]))
	if again.StatusCode != http.StatusNotModified || again.Body != "" {
		t.Errorf("the same again: %d, %d bytes, tag %q", again.StatusCode, len(again.Body), response.Headers["Etag"])
	}
	const file = "/docs/swagger-ui-bundle.js"
	plain, _ := f.send(changed(t, "no-key", http.MethodGet, file, ""))
	packed, _ := f.send(withHeader(t, changed(t, "no-key", http.MethodGet, file, ""), "accept-encoding", "gzip"))
	if packed.Headers["Content-Encoding"] != "gzip" || !packed.IsBase64Encoded || len(packed.Body) > 1<<20 {
		t.Errorf("compressed: %v, base64 %v, %d bytes", packed.Headers, packed.IsBase64Encoded, len(packed.Body))
	}
	if got, want := unpacked(t, packed), bytesOf(t, plain); !bytes.Equal(got, want) || len(want) < 1<<20 {
		t.Errorf("%d bytes compressed, %d plain", len(got), len(want))
	}
}

func withHeader(t *testing.T, event []byte, name, value string) []byte {
	t.Helper()
	var fields map[string]any
	if err := json.Unmarshal(event, &fields); err != nil {
		t.Fatal(err)
	}
	fields["headers"].(map[string]any)[name] = value
	changed, err := json.Marshal(fields)
	if err != nil {
		t.Fatal(err)
	}
	return changed
}

func bytesOf(t *testing.T, response events.APIGatewayV2HTTPResponse) []byte {
	t.Helper()
	if !response.IsBase64Encoded {
		return []byte(response.Body)
	}
	body, err := base64.StdEncoding.DecodeString(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return body
}

func unpacked(t *testing.T, response events.APIGatewayV2HTTPResponse) []byte {
	t.Helper()
	reader, err := gzip.NewReader(bytes.NewReader(bytesOf(t, response)))
	if err != nil {
		t.Fatal(err)
	}
	body, err := io.ReadAll(reader)
	if err != nil {
		t.Fatal(err)
	}
	return body
}
