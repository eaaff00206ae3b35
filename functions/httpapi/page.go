package httpapi

import (
	_ "embed"
	"net/http"
)

//go:embed index.html
var indexHTML []byte

// page answers GET /: what this is, for somebody who opened it in a browser.
func page(c *call) error {
	header := c.w.Header()
	header.Set("Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'")
	header.Set("Cache-Control", "public, max-age=300")
	return writeBytes(c, http.StatusOK, "text/html; charset=utf-8", indexHTML)
}
