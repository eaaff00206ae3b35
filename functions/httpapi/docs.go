package httpapi

import (
	_ "embed"
	"io/fs"
	"strings"
	"sync"

	swagger "github.com/swaggest/swgui/v5/static"
)

// The page is our own frame around Swagger UI, whose files are shipped in the
// binary, compressed. swgui has a handler too; its page needs inline scripts, and
// this one allows none.
var (
	//go:embed docs.html
	docsHTML string
	//go:embed docs.js
	docsScript []byte
)

// docsPolicy lets the page load its own files and ask this server, nothing else.
// Swagger UI sets styles in elements, and has its pictures in its style sheet.
const docsPolicy = "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; connect-src 'self'; " +
	"frame-ancestors 'none'; base-uri 'none'; form-action 'none'"

// docsFolder stands in docs.html where the folder of its files goes.
const docsFolder = "{{folder}}"

// docsPages are made once: the page as it is linked from /docs and from /docs/.
// Links are relative, so that a gateway may put a prefix before the path.
var docsPages = sync.OnceValue(func() map[bool]*static {
	pages := map[bool]*static{}
	for slash, folder := range map[bool]string{false: "docs/", true: ""} {
		body := []byte(strings.ReplaceAll(docsHTML, docsFolder, folder))
		pages[slash] = newStatic("text/html; charset=utf-8", body, false)
		pages[slash].policy = docsPolicy
	}
	return pages
})

// docsAssets are the files that the page links to, each made once.
var docsAssets = map[string]func() *static{
	"docs.js": sync.OnceValue(func() *static {
		return newStatic("text/javascript; charset=utf-8", docsScript, false)
	}),
	"swagger-ui-bundle.js": swaggerFile("swagger-ui-bundle.js.gz", "text/javascript; charset=utf-8"),
	"swagger-ui.css":       swaggerFile("swagger-ui.css.gz", "text/css; charset=utf-8"),
	"favicon-32x32.png":    swaggerFile("favicon-32x32.png", pngType),
}

func swaggerFile(name, contentType string) func() *static {
	return sync.OnceValue(func() *static {
		body, err := fs.ReadFile(swagger.FS, name)
		if err != nil {
			panic(err) // it is part of the program, and its tests read it
		}
		return newStatic(contentType, body, strings.HasSuffix(name, ".gz"))
	})
}

// docs answers GET /docs.
func docs(c *call) error {
	return docsPages()[strings.HasSuffix(c.r.URL.Path, "/")].answer(c)
}

// docsAsset answers GET /docs/{asset}.
func docsAsset(c *call) error {
	file, known := docsAssets[c.segments[1]]
	if !known {
		return errRouteNotFound
	}
	return file().answer(c)
}
