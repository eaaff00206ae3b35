package httpapi

import (
	_ "embed"
	"sync"
)

//go:embed index.html
var indexHTML []byte

// indexPolicy lets the page have its styles in itself, and nothing else.
const indexPolicy = "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'"

var indexStatic = sync.OnceValue(func() *static {
	page := newStatic("text/html; charset=utf-8", indexHTML, false)
	page.policy = indexPolicy
	return page
})

// page answers GET /: what this is, for somebody who opened it in a browser.
func page(c *call) error { return indexStatic().answer(c) }
