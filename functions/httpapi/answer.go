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
	text, err := encode(body)
	if err != nil {
		return err
	}
	if tagged, ok := body.(versioned); ok {
		if err := setETag(c, status, tagged, text); err != nil {
			return err
		}
	}
	return writeBytes(c, status, "application/json; charset=utf-8", text)
}

// encode is JSON as every answer has it.
func encode(body any) ([]byte, error) {
	var buffer bytes.Buffer
	encoder := json.NewEncoder(&buffer)
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(body); err != nil {
		return nil, fmt.Errorf("encode the answer: %w", err)
	}
	return buffer.Bytes(), nil
}

// writeBytes answers.
func writeBytes(c *call, status int, contentType string, body []byte) error {
	a := answer{Status: status, ContentType: contentType, Body: body}
	if c.held != nil {
		*c.held = a
		return nil
	}
	c.send(a)
	return nil
}

// send is where every answer leaves: unchanged, compressed or whole. That the
// caller has gone is nobody's error.
func (c *call) send(a answer) {
	c.leaveBody()
	header := c.w.Header()
	compressible := isCompressible(a.ContentType)
	if compressible {
		header["Vary"] = append(header["Vary"], "Accept-Encoding")
	}
	if c.unchanged(a.Status) {
		header.Del("Content-Encoding")
		c.w.WriteHeader(http.StatusNotModified)
		return
	}
	if compressible && header.Get("Content-Encoding") == "" && len(a.Body) >= minCompressed && acceptsGzip(c.r.Header["Accept-Encoding"]) {
		zipped, release := compress(a.Body)
		defer release()
		a.Body = zipped
		header.Set("Content-Encoding", "gzip")
	}
	header.Set("Content-Type", a.ContentType)
	header.Set("Content-Length", strconv.Itoa(len(a.Body)))
	c.w.WriteHeader(a.Status)
	_, _ = c.w.Write(a.Body)
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
