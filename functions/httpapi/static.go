package httpapi

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"io"
	"net/http"
)

// static is an answer that stays the same while the process lives. It is read
// only after it was made.
type static struct {
	contentType string
	policy      string // Content-Security-Policy; the usual one where empty
	body        []byte
	gzipped     bool   // body is compressed
	etag        string // weak: the same for both encodings
}

// staticMaxAge is in seconds, and short: a deployment changes what is served
// without changing its name.
const staticMaxAge = 300

func newStatic(contentType string, body []byte, gzipped bool) *static {
	return &static{contentType: contentType, body: body, gzipped: gzipped, etag: etagOf(body)}
}

// answer sends it. What is compressed already stays so for who accepts it.
func (s *static) answer(c *call) error {
	header := c.w.Header()
	header.Set("Cache-Control", fmt.Sprintf("public, max-age=%d", staticMaxAge))
	header.Set("ETag", s.etag)
	if s.policy != "" {
		header.Set("Content-Security-Policy", s.policy)
	}
	body := s.body
	switch {
	case s.gzipped && acceptsGzip(c.r.Header["Accept-Encoding"]):
		header.Set("Content-Encoding", "gzip")
	case s.gzipped:
		var err error
		if body, err = unzip(body); err != nil {
			return err
		}
	}
	return writeBytes(c, http.StatusOK, s.contentType, body)
}

func unzip(body []byte) ([]byte, error) {
	reader, err := gzip.NewReader(bytes.NewReader(body))
	if err != nil {
		return nil, fmt.Errorf("unpack a file of the page: %w", err)
	}
	plain, err := io.ReadAll(reader)
	if err != nil {
		return nil, fmt.Errorf("unpack a file of the page: %w", err)
	}
	return plain, nil
}
