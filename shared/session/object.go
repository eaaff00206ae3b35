package session

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"unicode/utf8"
)

// object walks decoded JSON and collects what is wrong under the name of the
// field. An absent or null field leaves the target alone, so defaults are
// whatever the target held before.
type object struct {
	path   string
	fields map[string]any
	taken  map[string]bool
	errs   *FieldErrors
}

// decodeObject parses a single JSON object of a request, called path in errors.
// An empty body is an empty object; a field that is there twice is refused.
func decodeObject(data []byte, path string, errs *FieldErrors) (object, error) {
	o, err := parseObject(data, path, errs)
	if err != nil || len(o.fields) == 0 {
		return o, err
	}
	if where, found := findDuplicate(path, data); found {
		return o, &FieldError{Field: cmp.Or(where, "body"), Problem: "must not be there twice"}
	}
	return o, nil
}

// DecodeFields reads a body as one JSON object, by the rules of every request,
// for who looks at single fields of it. A number is a [json.Number]. Its error
// is a [*FieldError].
func DecodeFields(body []byte) (map[string]any, error) {
	var none FieldErrors
	root, err := decodeObject(body, "", &none)
	return root.fields, err
}

// parseObject is decodeObject for what was checked when it came in.
func parseObject(data []byte, path string, errs *FieldErrors) (object, error) {
	o := object{path: path, fields: map[string]any{}, taken: map[string]bool{}, errs: errs}
	if len(bytes.TrimSpace(data)) == 0 {
		return o, nil
	}
	if !utf8.Valid(data) {
		return o, &FieldError{Field: "body", Problem: "must be JSON in UTF-8"}
	}
	decoder := json.NewDecoder(bytes.NewReader(data))
	decoder.UseNumber() // numbers of unknown fields survive the echo unchanged
	var value any
	if err := decoder.Decode(&value); err != nil {
		return o, &FieldError{Field: "body", Problem: "must be valid JSON: " + err.Error()}
	}
	if _, err := decoder.Token(); err != io.EOF {
		return o, &FieldError{Field: "body", Problem: "must be one JSON object with nothing after it"}
	}
	fields, ok := value.(map[string]any)
	if !ok {
		return o, &FieldError{Field: "body", Problem: "must be a JSON object, not " + kindOf(value)}
	}
	if deeper(fields, maxNesting) {
		return o, &FieldError{Field: "body", Problem: fmt.Sprintf("must not be nested deeper than %d levels", maxNesting)}
	}
	// A raw NUL is no JSON, so only an escaped one can be there; the walk that
	// names its field is for that rare case.
	if bytes.Contains(data, []byte(`\u0000`)) {
		if where, found := findNUL(path, fields); found {
			return o, &FieldError{Field: where, Problem: "must not contain a NUL character"}
		}
	}
	o.fields = fields
	return o, nil
}

// maxNesting is far above any real config.
const maxNesting = 32

func deeper(value any, levels int) bool {
	switch v := value.(type) {
	case []any:
		for _, item := range v {
			if levels == 0 || deeper(item, levels-1) {
				return true
			}
		}
	case map[string]any:
		for _, item := range v {
			if levels == 0 || deeper(item, levels-1) {
				return true
			}
		}
	}
	return false
}

// findNUL returns the path of the first string with a NUL in it: no text column
// of the database can hold one.
func findNUL(where string, value any) (string, bool) {
	switch v := value.(type) {
	case string:
		return where, strings.ContainsRune(v, 0)
	case []any:
		for i, item := range v {
			if at, found := findNUL(fmt.Sprintf("%s[%d]", where, i), item); found {
				return at, true
			}
		}
	case map[string]any:
		for _, key := range slices.Sorted(maps.Keys(v)) {
			item := v[key]
			if strings.ContainsRune(key, 0) {
				return join(where, "(a field name)"), true
			}
			if at, found := findNUL(join(where, key), item); found {
				return at, true
			}
		}
	}
	return "", false
}

func join(path, key string) string {
	if path == "" {
		return key
	}
	return path + "." + key
}

func kindOf(value any) string {
	switch value.(type) {
	case nil:
		return "null"
	case string:
		return "a string"
	case bool:
		return "a boolean"
	case json.Number:
		return "a number"
	case []any:
		return "an array"
	default:
		return "an object"
	}
}

// maxMistakes bounds how many are collected: more help nobody.
const maxMistakes = 20

func (o object) fail(key, format string, args ...any) {
	if len(*o.errs) >= maxMistakes {
		return
	}
	*o.errs = append(*o.errs, &FieldError{Field: join(o.path, key), Problem: fmt.Sprintf(format, args...)})
}

// take returns a field that is present and not null, and remembers it as known.
func (o object) take(key string) (any, bool) {
	o.taken[key] = true
	value, ok := o.fields[key]
	return value, ok && value != nil
}

// rest returns the fields that nobody took.
func (o object) rest() map[string]any {
	var rest map[string]any
	for key, value := range o.fields {
		if o.taken[key] {
			continue
		}
		if rest == nil {
			rest = map[string]any{}
		}
		rest[key] = value
	}
	return rest
}

// takeAs returns a field of one JSON kind, or reports the mistake.
func takeAs[T any](o object, key, wanted string) (T, bool) {
	var zero T
	value, ok := o.take(key)
	if !ok {
		return zero, false
	}
	typed, ok := value.(T)
	if !ok {
		o.fail(key, "must be %s, not %s", wanted, kindOf(value))
		return zero, false
	}
	return typed, true
}

func (o object) string(key string) (string, bool) { return takeAs[string](o, key, "a string") }

func (o object) bool(key string) (bool, bool) { return takeAs[bool](o, key, "a boolean") }

func (o object) array(key string) ([]any, bool) { return takeAs[[]any](o, key, "an array") }

// object returns a nested object; an absent one is empty and reports false.
func (o object) object(key string) (object, bool) {
	fields, ok := takeAs[map[string]any](o, key, "an object")
	return o.child(join(o.path, key), fields), ok
}

func (o object) child(path string, fields map[string]any) object {
	return object{path: path, fields: fields, taken: map[string]bool{}, errs: o.errs}
}

// objects returns an array of objects.
func (o object) objects(key string) []object {
	items, _ := o.array(key)
	var list []object
	for i, item := range items {
		name := fmt.Sprintf("%s[%d]", key, i)
		fields, ok := item.(map[string]any)
		if !ok {
			o.fail(name, "must be an object, not %s", kindOf(item))
			continue
		}
		list = append(list, o.child(join(o.path, name), fields))
	}
	return list
}

// strings returns an array of strings.
func (o object) strings(key string) []string {
	items, _ := o.array(key)
	var list []string
	for i, item := range items {
		text, ok := item.(string)
		if !ok {
			o.fail(fmt.Sprintf("%s[%d]", key, i), "must be a string, not %s", kindOf(item))
			continue
		}
		list = append(list, text)
	}
	return list
}

// integer returns a whole number within bounds.
func (o object) integer(key string, low, high int) (int, bool) {
	number, ok := takeAs[json.Number](o, key, "a number")
	if !ok {
		return 0, false
	}
	n, err := number.Int64()
	if err != nil || n < int64(low) || n > int64(high) {
		o.fail(key, "must be a whole number from %d to %d", low, high)
		return 0, false
	}
	return int(n), true
}
