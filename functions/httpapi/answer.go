package httpapi

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
)

// writeJSON encodes the whole body first, so that an error can still become an
// answer.
func writeJSON(c *call, status int, body any) error {
	var buffer bytes.Buffer
	encoder := json.NewEncoder(&buffer)
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(body); err != nil {
		return fmt.Errorf("encode the answer: %w", err)
	}
	return writeBytes(c, status, "application/json; charset=utf-8", buffer.Bytes())
}

// writeBytes sends an answer. That the caller has gone is nobody's error.
func writeBytes(c *call, status int, contentType string, body []byte) error {
	header := c.w.Header()
	header.Set("Content-Type", contentType)
	header.Set("Content-Length", strconv.Itoa(len(body)))
	c.w.WriteHeader(status)
	_, _ = c.w.Write(body)
	return nil
}

// recorder remembers what was answered, and keeps the body of an answer to HEAD
// back: not every server under this handler does.
type recorder struct {
	http.ResponseWriter
	status   int // 0 until something is written
	bytes    int
	bodyless bool
}

func (w *recorder) WriteHeader(status int) {
	if w.status != 0 {
		return
	}
	w.status = status
	w.ResponseWriter.WriteHeader(status)
}

func (w *recorder) Write(p []byte) (int, error) {
	if w.status == 0 {
		w.WriteHeader(http.StatusOK)
	}
	if w.bodyless {
		return len(p), nil
	}
	n, err := w.ResponseWriter.Write(p)
	w.bytes += n
	return n, err
}

// Unwrap lets [http.ResponseController] reach the server.
func (w *recorder) Unwrap() http.ResponseWriter { return w.ResponseWriter }
