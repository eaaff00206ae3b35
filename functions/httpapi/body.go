package httpapi

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"time"

	"github.com/wafleet/wafleet/shared/session"
)

// maxBody is in bytes, for every endpoint without media.
const maxBody = 1 << 20

// readBody reads no more than the limit, whatever the caller announced, and no
// longer than the server allows. A body that was not read to its end takes the
// connection with it: what follows may be the rest of it.
func readBody(c *call) ([]byte, error) {
	if encoding := c.r.Header.Get("Content-Encoding"); encoding != "" && !strings.EqualFold(encoding, "identity") {
		return nil, errBodyEncoded
	}
	c.bodyRead = true
	body, err := io.ReadAll(http.MaxBytesReader(c.w.ResponseWriter, c.r.Body, maxBody))
	var tooLarge *http.MaxBytesError
	if err != nil {
		c.w.Header().Set("Connection", "close")
	}
	switch {
	case errors.As(err, &tooLarge):
		return nil, errBodyTooLarge
	case errors.Is(err, os.ErrDeadlineExceeded):
		return nil, errBodyTooSlow
	case err != nil:
		return nil, &session.FieldError{Field: "body", Problem: "could not be read to its end"}
	}
	return body, nil
}

// leftoverTimeout is how long an answer waits for a body that nobody wants. The
// server reads it before it answers, to keep the connection, and would wait for
// as long as for a body that somebody does want.
const leftoverTimeout = 200 * time.Millisecond

func (c *call) leaveBody() {
	if !c.bodyRead && c.r.ContentLength != 0 {
		// A server that cannot do this, as under Lambda, has the body already.
		_ = http.NewResponseController(c.w.ResponseWriter).SetReadDeadline(time.Now().Add(leftoverTimeout))
	}
}

// checkNoFields reads the body of an endpoint that takes nothing from it:
// nothing, or any JSON object.
func checkNoFields(c *call) error {
	body, err := readBody(c)
	if err != nil {
		return err
	}
	_, err = session.DecodeFields(body)
	return err
}

// bodyLimit is the limit as people read it.
func bodyLimit() string { return fmt.Sprintf("%d MiB", maxBody>>20) }
