package contract

import (
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
)

// verifyNoBody is for answers that have none, as 304: then nothing may say what
// kind of body it is.
func verifyNoBody(header http.Header, body []byte) error {
	if len(body) > 0 {
		return errors.New("the document has no body")
	}
	for _, name := range []string{"Content-Type", "Content-Encoding", "Content-Length"} {
		if values := header[name]; len(values) > 0 {
			return fmt.Errorf("no body, and %s is %q", name, values)
		}
	}
	return nil
}

// verifyVary holds that who compresses says so to caches: what came compressed
// may not be given to who cannot read it.
func verifyVary(header http.Header) error {
	varies := slices.ContainsFunc(header.Values("Vary"), func(value string) bool {
		return slices.ContainsFunc(strings.Split(value, ","), func(name string) bool {
			return strings.EqualFold(strings.TrimSpace(name), "Accept-Encoding")
		})
	})
	if encodings := header.Values("Content-Encoding"); len(encodings) > 0 && !varies {
		return fmt.Errorf("Content-Encoding is %q, and Vary is %q", encodings, header.Values("Vary"))
	}
	return nil
}

// decoded returns the body as it was before it was compressed. Only gzip is
// something that the API does.
func decoded(header http.Header, body []byte) ([]byte, error) {
	encodings := header.Values("Content-Encoding")
	switch {
	case len(encodings) == 0:
		return body, nil
	case len(encodings) > 1 || encodings[0] != "gzip":
		return nil, fmt.Errorf("Content-Encoding is %q", encodings)
	}
	reader, err := gzip.NewReader(bytes.NewReader(body))
	if err != nil {
		return nil, fmt.Errorf("decompress the body: %w", err)
	}
	plain, err := io.ReadAll(reader)
	if err != nil {
		return nil, fmt.Errorf("decompress the body: %w", err)
	}
	return plain, nil
}
