package contract

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"
)

// Check reports a test's mistake where the answer is not as the document says.
// The answer's body can be read again afterwards.
func Check(t testing.TB, request *http.Request, response *http.Response) {
	t.Helper()
	d, err := published()
	if err != nil {
		t.Fatalf("the published contract: %v", err)
	}
	body, err := io.ReadAll(response.Body)
	if err != nil {
		t.Errorf("read the body of an answer: %v", err)
	}
	response.Body.Close()
	response.Body = io.NopCloser(bytes.NewReader(body))
	if err := d.verify(request, response, body); err != nil {
		t.Errorf("%s %s answered %d, which is not in the contract: %v\n%s", request.Method, request.URL.Path, response.StatusCode, err, body[:min(len(body), 2000)])
	}
}

func (d *document) verify(request *http.Request, response *http.Response, body []byte) error {
	at, err := d.responseOf(request, response.StatusCode)
	if err != nil {
		return err
	}
	return errors.Join(
		d.verifyHeaders(at, response.Header),
		d.verifyBody(at, request.Method, response, body),
	)
}

// responseOf finds the response object of an answer.
func (d *document) responseOf(request *http.Request, status int) (place, error) {
	everywhere := d.root.child(extension).child("responses")
	found := d.find(request.URL)
	method := request.Method
	if method == http.MethodHead {
		method = http.MethodGet
	}
	switch {
	case method == http.MethodOptions && status == http.StatusOK && len(found) > 0:
		return d.resolve(d.root.child(extension).child("options"))
	case method != http.MethodOptions && method == strings.ToUpper(method): // methods are case-sensitive
		for _, path := range found {
			if operation, ok := path.at.lookup(strings.ToLower(method)); ok {
				return d.pick(status, operation.child("responses"), everywhere)
			}
		}
	}
	// No operation: then the answer says so, and in no other way.
	if len(found) > 0 && status == http.StatusNotFound || len(found) == 0 && status == http.StatusMethodNotAllowed {
		return place{}, fmt.Errorf("the document has %d paths that fit", len(found))
	}
	return d.pick(status, everywhere)
}

// pick takes the status itself, or the range of the server's errors. Of what any
// endpoint may answer an operation has only what is nobody's choice.
func (d *document) pick(status int, lists ...place) (place, error) {
	exact, class := fmt.Sprint(status), fmt.Sprintf("%dXX", status/100)
	for i, list := range lists {
		if response, ok := list.lookup(exact); ok && (i == 0 || status == statusClientClosed) {
			return d.resolve(response)
		}
		if response, ok := list.lookup(class); ok && i == 0 {
			return d.resolve(response)
		}
	}
	return place{}, errors.New("the status is not described")
}

// statusClientClosed is an answer that nobody sees.
const statusClientClosed = 499

func (d *document) verifyHeaders(response place, header http.Header) error {
	var errs []error
	described := map[string]bool{}
	list, _ := response.lookup("headers")
	for name := range list.object() {
		key := http.CanonicalHeaderKey(name)
		described[key] = true
		at, err := d.resolve(list.child(name))
		if err != nil {
			return err
		}
		values, there := header[key]
		if !there && at.object()["required"] == true {
			errs = append(errs, fmt.Errorf("header %s is missing", name))
		}
		for _, value := range values {
			if err := d.validate(at.child("schema"), value); err != nil {
				errs = append(errs, fmt.Errorf("header %s: %w", name, err))
			}
		}
	}
	for name := range header {
		if !described[name] && !d.common[name] {
			errs = append(errs, fmt.Errorf("header %s is not described", name))
		}
	}
	return errors.Join(errs...)
}

func (d *document) verifyBody(response place, method string, answered *http.Response, body []byte) error {
	content, ok := response.lookup("content")
	if !ok {
		return verifyNoBody(answered.Header, body)
	}
	mediaType, _, err := mime.ParseMediaType(answered.Header.Get("Content-Type"))
	if err != nil {
		return fmt.Errorf("Content-Type: %w", err)
	}
	media, ok := content.lookup(mediaType)
	if !ok {
		return fmt.Errorf("media type %s is not described", mediaType)
	}
	if err := verifyVary(answered.Header); err != nil {
		return err
	}
	if method == http.MethodHead {
		if len(body) > 0 {
			return errors.New("an answer to HEAD has a body")
		}
		return nil
	}
	if len(body) == 0 {
		return errors.New("the body is empty")
	}
	if body, err = decoded(answered.Header, body); err != nil || mediaType != "application/json" {
		return err
	}
	value, err := jsonschema.UnmarshalJSON(bytes.NewReader(body))
	if err != nil {
		return fmt.Errorf("body: %w", err)
	}
	return errors.Join(d.validate(media.child("schema"), value), d.verifyCode(response, answered.StatusCode, value))
}

// verifyCode holds the word of an error to the response that it comes with, and
// to the status that it always has.
func (d *document) verifyCode(response place, status int, body any) error {
	listed, ok := response.object()[codes].([]any)
	if !ok {
		return nil
	}
	object, _ := body.(map[string]any)
	code, _ := object["code"].(string)
	if !slices.Contains(listed, any(code)) {
		return fmt.Errorf("code %s is not described here", code)
	}
	if d.codes[code] != status || fmt.Sprint(object["statusCode"]) != fmt.Sprint(status) {
		return fmt.Errorf("code %s comes with status %d, statusCode %v", code, d.codes[code], object["statusCode"])
	}
	return nil
}
