package httpapi

import (
	"bytes"
	_ "embed"
	"encoding/json"
	"fmt"
	"sync"

	"github.com/goccy/go-yaml"
)

// openAPISource is the contract as it is written: YAML, by hand.
//
//go:embed openapi.yaml
var openAPISource []byte

// openAPIStatic is made when somebody asks first: a Lambda that serves nothing
// but the API starts without it.
var openAPIStatic = sync.OnceValue(func() *static {
	document, err := toJSON(openAPISource)
	if err != nil {
		panic(fmt.Sprintf("openapi.yaml: %v", err)) // it is part of the program, and its tests read it
	}
	return newStatic("application/json; charset=utf-8", document, false)
})

// OpenAPI returns the published contract, OpenAPI 3.1 as JSON. It must not be
// changed.
func OpenAPI() []byte { return openAPIStatic().body }

// toJSON keeps the order of the source, in which people read it.
func toJSON(source []byte) ([]byte, error) {
	converted, err := yaml.YAMLToJSON(source)
	if err != nil {
		return nil, err
	}
	var document bytes.Buffer
	if err := json.Compact(&document, converted); err != nil {
		return nil, err
	}
	return document.Bytes(), nil
}

// openAPI answers GET /openapi.json.
func openAPI(c *call) error { return openAPIStatic().answer(c) }
