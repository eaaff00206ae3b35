package session

import (
	"bytes"
	"encoding/json"
	"fmt"
)

// scope is an object or an array that the walk of findDuplicate is inside of.
type scope struct {
	path  string
	keys  map[string]bool // nil for an array
	value bool            // follows now, in an object, and not a key
	key   string          // path of that value
	n     int             // of the array's next item
}

// findDuplicate returns the path of the first field that valid JSON names twice
// in one object. Parsers disagree on which of the two counts, so a filter in
// front of us may have read another request than we do.
func findDuplicate(path string, data []byte) (string, bool) {
	decoder := json.NewDecoder(bytes.NewReader(data))
	decoder.UseNumber() // a number of any size is a token
	var inside []*scope
	for {
		token, err := decoder.Token()
		if err != nil { // the end: the JSON is known to be valid
			return "", false
		}
		var at *scope
		if len(inside) > 0 {
			at = inside[len(inside)-1]
		}
		switch delim, _ := token.(json.Delim); {
		case delim == '}' || delim == ']':
			inside = inside[:len(inside)-1]
			continue
		case at != nil && at.keys != nil && !at.value:
			key := token.(string)
			if at.keys[key] {
				return join(at.path, key), true
			}
			at.keys[key], at.key, at.value = true, join(at.path, key), true
			continue
		case delim == '{':
			inside = append(inside, &scope{path: at.next(path), keys: map[string]bool{}})
		case delim == '[':
			inside = append(inside, &scope{path: at.next(path)})
		default:
			at.next(path)
		}
	}
}

// next returns the path of the value that comes now, and moves past it. A nil
// scope is the outermost.
func (s *scope) next(outermost string) string {
	switch {
	case s == nil:
		return outermost
	case s.keys != nil:
		s.value = false
		return s.key
	}
	s.n++
	return fmt.Sprintf("%s[%d]", s.path, s.n-1)
}
