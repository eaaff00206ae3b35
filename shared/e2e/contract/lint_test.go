package contract

import (
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/goccy/go-yaml"
	"github.com/google/go-cmp/cmp"

	"github.com/wafleet/wafleet/functions/httpapi"
)

func loadDocument(t *testing.T) *openapi3.T {
	t.Helper()
	document, err := openapi3.NewLoader().LoadFromData(httpapi.OpenAPI())
	if err != nil {
		t.Fatal(err)
	}
	return document
}

func TestTheDocumentIsValidOpenAPI(t *testing.T) {
	t.Parallel()
	document := loadDocument(t)
	if err := document.Validate(t.Context(), openapi3.EnableExamplesValidation()); err != nil {
		t.Error(err)
	}
	if document.OpenAPI != "3.1.0" || document.Servers[0].URL != "./" {
		t.Errorf("version %s, servers %v", document.OpenAPI, document.Servers)
	}
}

// TestTheConversionLosesNothing compares the served document with the source,
// read in another way.
func TestTheConversionLosesNothing(t *testing.T) {
	t.Parallel()
	source, err := os.ReadFile("../../../functions/httpapi/openapi.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var read any
	if err := yaml.Unmarshal(source, &read); err != nil {
		t.Fatal(err)
	}
	encoded, err := json.Marshal(read)
	if err != nil {
		t.Fatal(err)
	}
	var want, got any
	if err := json.Unmarshal(encoded, &want); err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(httpapi.OpenAPI(), &got); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-source +served)\n%s", diff)
	}
}

// TestTheDocumentHelpsItsReaders is our own lint.
func TestTheDocumentHelpsItsReaders(t *testing.T) {
	t.Parallel()
	document := loadDocument(t)
	l := &linter{T: t, ids: map[string]string{}}
	for _, tag := range document.Tags {
		l.tags = append(l.tags, tag.Name)
	}
	for path, item := range document.Paths.Map() {
		for method, operation := range item.Operations() {
			l.where = method + " " + path
			l.operation(item, operation, strings.HasPrefix(path, "/api"))
		}
	}
	for name, response := range document.Components.Responses {
		l.where = "response " + name
		l.bodies(response.Value.Content)
	}
	if len(l.ids) < 100 {
		t.Errorf("only %d operations", len(l.ids))
	}
}

type linter struct {
	*testing.T
	where string
	ids   map[string]string // where an operationId stands
	tags  []string
}

func (l *linter) want(ok bool, format string, args ...any) {
	l.Helper()
	if !ok {
		l.Errorf("%s: %s", l.where, fmt.Sprintf(format, args...))
	}
}

func (l *linter) operation(item *openapi3.PathItem, operation *openapi3.Operation, keyed bool) {
	other, taken := l.ids[operation.OperationID]
	l.want(operation.OperationID != "" && !taken, "operationId %q, also of %s", operation.OperationID, other)
	l.ids[operation.OperationID] = l.where
	l.want(operation.Summary != "" && !strings.HasSuffix(operation.Summary, "."), "summary %q", operation.Summary)
	l.want(len(operation.Tags) == 1 && slices.Contains(l.tags, operation.Tags[0]), "tags %v of %v", operation.Tags, l.tags)
	unbuilt := slices.Contains(operation.Tags, "not built yet")
	l.want(unbuilt || operation.Description != "", "no description")

	// The page does not resolve parameters of a whole path.
	l.want(len(item.Parameters) == 0, "parameters of the path")
	requestID := false
	for _, parameter := range operation.Parameters {
		requestID = requestID || parameter.Value.Name == "X-Request-Id"
		l.want(parameter.Value.Description != "" && parameter.Value.Example != nil && parameter.Value.Schema != nil, "parameter %s", parameter.Value.Name)
	}
	l.want(requestID, "no X-Request-Id")
	l.want(keyed == (operation.Security == nil), "security %v", operation.Security)
	l.responses(operation, keyed)
	if operation.RequestBody != nil {
		l.bodies(operation.RequestBody.Value.Content)
		for _, status := range []string{"408", "413", "415"} {
			l.want(operation.Responses.Value(status) != nil, "a body without %s", status)
		}
	}
	if strings.HasPrefix(l.where, "POST /api") && !unbuilt {
		l.want(operation.RequestBody != nil, "a POST without a body")
	}
}

func (l *linter) responses(operation *openapi3.Operation, keyed bool) {
	l.want(operation.Responses.Value("5XX") != nil, "no 5XX")
	for _, status := range []string{"400", "401", "403", "429"} {
		l.want(keyed == (operation.Responses.Value(status) != nil), "%s, with a key %v", status, keyed)
	}
	if slices.ContainsFunc(operation.Parameters, func(p *openapi3.ParameterRef) bool { return p.Value.Name == "Idempotency-Key" }) {
		l.want(operation.Responses.Value("409") != nil && operation.Responses.Value("422") != nil, "Idempotency-Key without 409 and 422")
	}
	for status, response := range operation.Responses.Map() {
		l.want(response.Value.Headers["X-Request-Id"] != nil, "%s without X-Request-Id", status)
		l.want(status == "304" || len(response.Value.Content) > 0, "%s without a body", status)
		l.bodies(response.Value.Content)
	}
}

func (l *linter) bodies(content openapi3.Content) {
	for mediaType, media := range content {
		l.want(media.Example != nil || len(media.Examples) > 0, "%s without an example", mediaType)
		l.want(media.Schema != nil || mediaType == "image/png", "%s without a schema", mediaType)
	}
}
