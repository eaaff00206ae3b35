package contract

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"

	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/wafleet/wafleet/functions/httpapi"
)

// Extensions of the document.
const (
	extension = "x-wafleet-everywhere"
	codes     = "x-wafleet-codes"
	subtree   = "x-wafleet-subtree"
)

// documentURL is where the schemas are said to lie; nothing is fetched.
const documentURL = "https://wafleet.test/openapi.json"

// document is the contract, ready to be compared with. It is safe for
// concurrent use.
type document struct {
	root   place
	paths  []path
	common map[string]bool // headers that any answer may carry
	codes  map[string]int  // status of every code

	mu       sync.Mutex // guards compiler and schemas
	compiler *jsonschema.Compiler
	schemas  map[string]*jsonschema.Schema // by pointer
}

// published is the contract of this build, read once.
var published = sync.OnceValues(func() (*document, error) { return parse(httpapi.OpenAPI()) })

func parse(text []byte) (*document, error) {
	value, err := jsonschema.UnmarshalJSON(bytes.NewReader(text))
	if err != nil {
		return nil, err
	}
	d := &document{root: place{value: value}, common: map[string]bool{}, codes: map[string]int{}, compiler: jsonschema.NewCompiler(), schemas: map[string]*jsonschema.Schema{}}
	d.compiler.DefaultDraft(jsonschema.Draft2020)
	d.compiler.AssertFormat()
	d.compiler.AssertContent()
	if err := d.compiler.AddResource(documentURL, value); err != nil {
		return nil, err
	}
	d.paths = pathsOf(d.root.child("paths"))
	names, _ := d.root.child(extension).object()["headers"].([]any)
	for _, name := range names {
		d.common[http.CanonicalHeaderKey(fmt.Sprint(name))] = true
	}
	for code, status := range d.root.child("components").child("schemas").child("ErrorCode").child(codes).object() {
		number, err := status.(json.Number).Int64()
		if err != nil {
			return nil, fmt.Errorf("status of %s: %w", code, err)
		}
		d.codes[code] = int(number)
	}
	if len(d.paths) == 0 || len(d.common) == 0 || len(d.codes) == 0 {
		return nil, errors.New("paths, headers or codes are missing")
	}
	return d, nil
}

// validate compares a value with the schema at a place.
func (d *document) validate(schema place, value any) error {
	compiled, err := d.compile(schema.pointer)
	if err != nil {
		return err
	}
	return compiled.Validate(value)
}

func (d *document) compile(pointer string) (*jsonschema.Schema, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if known := d.schemas[pointer]; known != nil {
		return known, nil
	}
	compiled, err := d.compiler.Compile(documentURL + "#" + pointer)
	if err != nil {
		return nil, err
	}
	d.schemas[pointer] = compiled
	return compiled, nil
}

// place is a value of the document and where it stands.
type place struct {
	pointer string // JSON pointer, fit for a URL's fragment
	value   any
}

func (p place) object() map[string]any {
	object, _ := p.value.(map[string]any)
	return object
}

func (p place) lookup(key string) (place, bool) {
	value, ok := p.object()[key]
	return place{pointer: p.pointer + "/" + escape(key), value: value}, ok
}

// child is a place that must be there; where it is not it is empty.
func (p place) child(key string) place {
	at, _ := p.lookup(key)
	return at
}

// escape follows RFC 6901, section 6.
func escape(key string) string {
	return strings.NewReplacer("~", "~0", "/", "~1", "{", "%7B", "}", "%7D", "%", "%25", " ", "%20").Replace(key)
}

func unescape(token string) string {
	return strings.NewReplacer("~0", "~", "~1", "/", "%7B", "{", "%7D", "}", "%25", "%", "%20", " ").Replace(token)
}

// resolve follows references inside the document.
func (d *document) resolve(at place) (place, error) {
	reference, ok := at.object()["$ref"].(string)
	if !ok {
		return at, nil
	}
	target := d.root
	for token := range strings.SplitSeq(strings.TrimPrefix(reference, "#/"), "/") {
		if target, ok = target.lookup(unescape(token)); !ok {
			return place{}, fmt.Errorf("%s refers to %s, which is not there", at.pointer, reference)
		}
	}
	return d.resolve(target)
}
