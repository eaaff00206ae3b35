package httpapi

import (
	"encoding/json"
	"go/ast"
	"go/parser"
	"go/token"
	"net/http"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/wafleet/wafleet/shared/session"
)

// published is the parts of the document that the code is compared with.
type published struct {
	Paths      map[string]map[string]json.RawMessage
	Components struct {
		Schemas struct {
			ErrorCode struct {
				Enum        []string
				Description string
				Codes       map[string]int `json:"x-wafleet-codes"`
			}
			ReasonCode struct {
				AnyOf []struct {
					Enum    []string
					Pattern string
				}
				Description string
			}
			Status struct{ Enum []string }
		}
	}
}

func readPublished(t *testing.T) published {
	t.Helper()
	var p published
	if err := json.Unmarshal(OpenAPI(), &p); err != nil {
		t.Fatal(err)
	}
	return p
}

// documented lists the operations as methods and patterns of the router.
func (p published) documented() []string {
	var operations []string
	for path, item := range p.Paths {
		if string(item["x-wafleet-subtree"]) == "true" {
			path = strings.TrimSuffix(path, "/{path}") + subtreeSuffix
		}
		for _, method := range standardMethods {
			if _, has := item[strings.ToLower(method)]; has {
				operations = append(operations, method+" "+path)
			}
		}
	}
	slices.Sort(operations)
	return operations
}

// operationsOf lists routes in the same words.
func operationsOf(routes []route) []string {
	var operations []string
	for _, r := range routes {
		methods := []string{r.method}
		if r.method == anyMethod {
			methods = standardMethods
		}
		pattern := r.pattern
		if root, subtree := strings.CutSuffix(pattern, subtreeSuffix); subtree {
			pattern = strings.TrimSuffix(root, "/") + subtreeSuffix
		}
		for _, method := range methods {
			operations = append(operations, method+" "+pattern)
		}
	}
	slices.Sort(operations)
	return operations
}

func TestTheDocumentAndTheRoutesAreTheSame(t *testing.T) {
	t.Parallel()
	h := unconnected(t, nil)
	code := operationsOf(slices.Concat(h.built(), unbuilt))
	if diff := cmp.Diff(code, readPublished(t).documented()); diff != "" {
		t.Errorf("operations (-code +document)\n%s", diff)
	}
	if len(code) < 80 {
		t.Errorf("only %d operations", len(code))
	}
}

// TestUnbuiltOperationsSayWhatTheyAre: built ones must not promise 501, and
// unbuilt ones nothing else.
func TestUnbuiltOperationsSayWhatTheyAre(t *testing.T) {
	t.Parallel()
	h := unconnected(t, nil)
	built := operationsOf(h.built())
	for path, item := range readPublished(t).Paths {
		for _, method := range standardMethods {
			var operation struct {
				Tags      []string
				Responses map[string]json.RawMessage
			}
			if raw, has := item[strings.ToLower(method)]; !has {
				continue
			} else if err := json.Unmarshal(raw, &operation); err != nil {
				t.Fatal(err)
			}
			isBuilt := slices.Contains(built, method+" "+path)
			_, ok, created := operation.Responses["501"], operation.Responses["200"] != nil, operation.Responses["201"] != nil
			if isBuilt == slices.Contains(operation.Tags, "not built yet") || isBuilt != (ok || created) {
				t.Errorf("%s %s: built %v, tags %v, %d responses", method, path, isBuilt, operation.Tags, len(operation.Responses))
			}
		}
	}
}

// codesInSource lists the constants of type Code, wherever in the package they are.
func codesInSource(t *testing.T) []string {
	t.Helper()
	files, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	var found []string
	for _, file := range files {
		parsed, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		ast.Inspect(parsed, func(n ast.Node) bool {
			spec, ok := n.(*ast.ValueSpec)
			if !ok {
				return true
			}
			if name, ok := spec.Type.(*ast.Ident); !ok || name.Name != "Code" {
				return true
			}
			for _, value := range spec.Values {
				text, err := strconv.Unquote(value.(*ast.BasicLit).Value)
				if err != nil {
					t.Fatal(err)
				}
				found = append(found, text)
			}
			return true
		})
	}
	return found
}

func TestTheDocumentsErrorCodes(t *testing.T) {
	t.Parallel()
	document := readPublished(t).Components.Schemas.ErrorCode
	code := codesInSource(t)
	sameWords(t, "codes", code, document.Enum)
	for _, word := range document.Enum {
		if row := "| `" + word + "` | " + strconv.Itoa(document.Codes[word]) + " |"; !strings.Contains(document.Description, row) {
			t.Errorf("the table has no row %s", row)
		}
	}
	if len(document.Codes) != len(document.Enum) {
		t.Errorf("%d codes have a status, %d are listed", len(document.Codes), len(document.Enum))
	}
	for _, known := range plain {
		if status := document.Codes[string(known.code)]; status != known.status {
			t.Errorf("%s has the status %d in the document, %d in the code", known.code, status, known.status)
		}
	}
}

func TestTheDocumentsReasons(t *testing.T) {
	t.Parallel()
	document := readPublished(t).Components.Schemas.ReasonCode
	var code, words, patterns []string
	for _, reason := range session.ReasonCodes() {
		code = append(code, string(reason))
	}
	for _, one := range document.AnyOf {
		words = append(words, one.Enum...)
		if one.Pattern != "" {
			patterns = append(patterns, one.Pattern)
		}
	}
	sameWords(t, "reasons", code, words)
	for _, word := range append(words, "CONNECT_FAILURE_n", "STREAM_ERROR_code") {
		if !strings.Contains(document.Description, "| `"+word+"` |") {
			t.Errorf("the table does not explain %s", word)
		}
	}
	if len(patterns) != 2 {
		t.Errorf("families %v", patterns)
	}
}

func TestTheDocumentsStatuses(t *testing.T) {
	t.Parallel()
	statuses := []string{string(session.Stopped), string(session.Starting), string(session.ScanQRCode), string(session.Working), string(session.Failed)}
	sameWords(t, "statuses", statuses, readPublished(t).Components.Schemas.Status.Enum)
}

// sameWords compares both ways.
func sameWords(t *testing.T, what string, code, document []string) {
	t.Helper()
	known, listed := slices.Sorted(slices.Values(code)), slices.Sorted(slices.Values(document))
	if diff := cmp.Diff(known, listed); diff != "" {
		t.Errorf("%s (-code +document)\n%s", what, diff)
	}
}

// TestTheDocumentsErrorsAreThoseOfTheCode: an example shows the status and the
// words that a caller gets.
func TestTheDocumentsErrorsAreThoseOfTheCode(t *testing.T) {
	t.Parallel()
	var document any
	if err := json.Unmarshal(OpenAPI(), &document); err != nil {
		t.Fatal(err)
	}
	seen := map[string]bool{}
	walkObjects(document, func(object map[string]any) {
		if object["success"] != false {
			return
		}
		code, _ := object["code"].(string)
		for _, known := range plain {
			if string(known.code) != code {
				continue
			}
			seen[code] = true
			if status := float64(known.status); object["statusCode"] != status || object["error"] != http.StatusText(known.status) {
				t.Errorf("%s: status %v %v", code, object["statusCode"], object["error"])
			}
			if known.code != CodeUnavailable && object["message"] != known.message { // which has two
				t.Errorf("%s: the example says %q, the code %q", code, object["message"], known.message)
			}
		}
	})
	for _, known := range plain {
		if !seen[string(known.code)] {
			t.Errorf("%s has no example", known.code)
		}
	}
}

func walkObjects(value any, visit func(map[string]any)) {
	switch value := value.(type) {
	case map[string]any:
		visit(value)
		for _, inner := range value {
			walkObjects(inner, visit)
		}
	case []any:
		for _, inner := range value {
			walkObjects(inner, visit)
		}
	}
}

func TestTheServedDocument(t *testing.T) {
	t.Parallel()
	if _, err := toJSON([]byte("a: [")); err == nil {
		t.Error("YAML with a mistake is taken")
	}
	if !json.Valid(OpenAPI()) {
		t.Error("not JSON")
	}
	if first, second := OpenAPI(), OpenAPI(); &first[0] != &second[0] {
		t.Error("made twice")
	}
}
