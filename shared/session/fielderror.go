package session

import "strings"

// FieldError says which field of a request is wrong, and how.
type FieldError struct {
	// Field is the path as the caller wrote it, such as "config.store.dialect".
	Field string
	// Problem completes the sentence "<field> ...".
	Problem string
}

func (e *FieldError) Error() string { return e.Field + " " + e.Problem }

// FieldErrors is every mistake found in one request, reported together.
type FieldErrors []*FieldError

func (e FieldErrors) Error() string {
	texts := make([]string, len(e))
	for i, err := range e {
		texts[i] = err.Error()
	}
	return strings.Join(texts, "; ")
}

// orNil keeps an empty list from becoming a non-nil error.
func (e FieldErrors) orNil() error {
	if len(e) == 0 {
		return nil
	}
	return e
}
