package httpapi_test

import (
	"bytes"
	"compress/gzip"
	"io"
	"net/http"
	"path"
	"regexp"
	"strings"
	"testing"

	"github.com/wafleet/wafleet/functions/access"
	"github.com/wafleet/wafleet/functions/control"
	"github.com/wafleet/wafleet/functions/httpapi"
	"github.com/wafleet/wafleet/shared/apikey"
	"github.com/wafleet/wafleet/shared/store"
)

// openService has no database: what is open and static asks none.
func openService(t *testing.T) *service {
	t.Helper()
	opened, err := store.Open("postgres://x@127.0.0.1:1/x?sslmode=disable", store.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { opened.Close() })
	return &service{TB: t, key: apikey.New(), Handler: httpapi.New(control.New(opened, control.Config{}), access.New(opened, access.Config{}), httpapi.Config{})}
}

func (s *service) open(path string, header ...string) answer {
	s.Helper()
	a := ask{path: path, noKey: true, header: http.Header{}}
	for i := 0; i < len(header); i += 2 {
		a.header.Set(header[i], header[i+1])
	}
	return s.do(a)
}

func TestTheServedDocumentIsOpenAndCacheable(t *testing.T) {
	t.Parallel()
	s := openService(t)
	a := s.open("/openapi.json").want(http.StatusOK)
	if !bytes.Equal(a.Body.Bytes(), httpapi.OpenAPI()) || !strings.HasPrefix(a.Header().Get("Cache-Control"), "public") {
		t.Errorf("%d bytes, %v", a.Body.Len(), a.Header())
	}
	if a.object()["openapi"] != "3.1.0" {
		t.Errorf("version %v", a.object()["openapi"])
	}
	etag := a.Header().Get("ETag")
	for tags, status := range map[string]int{
		etag: 304, strings.TrimPrefix(etag, "W/"): 304, `"other", ` + etag: 304, "*": 304, `W/"other"`: 200, "": 200, strings.Trim(etag, `W/"`): 200,
	} {
		if again := s.open("/openapi.json", "If-None-Match", tags).want(status); status == 304 && (again.Body.Len() > 0 || again.Header().Get("ETag") != etag) {
			t.Errorf("%q: %d bytes, %v", tags, again.Body.Len(), again.Header())
		}
	}
}

func TestAFileOfThePageComesCompressedOrPlain(t *testing.T) {
	t.Parallel()
	s := openService(t)
	for _, file := range []string{"/docs/swagger-ui-bundle.js", "/docs/swagger-ui.css"} {
		plain := s.open(file).want(http.StatusOK)
		for accept, compressed := range map[string]bool{"gzip": true, "br, GZip;q=0.5": true, "gzip;q=0": false, "gzip; q=0.0": false, "br": false, "*": true} {
			a := s.open(file, "Accept-Encoding", accept).want(http.StatusOK)
			if (a.Header().Get("Content-Encoding") == "gzip") != compressed || a.Header().Get("Vary") != "Accept-Encoding" {
				t.Errorf("%s, %q: %v", file, accept, a.Header())
			}
			var body io.Reader = a.Body
			if compressed {
				var err error
				if body, err = gzip.NewReader(body); err != nil {
					t.Fatal(err)
				}
			}
			if read, err := io.ReadAll(body); err != nil || !bytes.Equal(read, plain.Body.Bytes()) {
				t.Errorf("%s, %q: %d bytes, not %d (%v)", file, accept, len(read), plain.Body.Len(), err)
			}
		}
	}
	s.open("/docs/swagger-ui-bundle.js.gz").wantError(http.StatusNotFound, httpapi.CodeRouteNotFound)
	s.open("/docs/..%2fopenapi.yaml").wantError(http.StatusNotFound, httpapi.CodeRouteNotFound)
	s.open("/docs/a/b").wantError(http.StatusNotFound, httpapi.CodeRouteNotFound)
}

var (
	references = regexp.MustCompile(`(?:src|href)="([^"]*)"`)
	refers     = regexp.MustCompile(`url\(\s*['"]?([^'")]+)|@import`)
	foreign    = regexp.MustCompile(`(?:https?:)?//`)
)

// TestThePageAsksNoOtherHost follows what the page links to. The script holds
// addresses of specifications in its texts, so what it may ask is held by the
// policy, which a browser obeys; the browser's test sees it do so.
func TestThePageAsksNoOtherHost(t *testing.T) {
	t.Parallel()
	s := openService(t)
	for _, folder := range []string{"/docs", "/docs/"} {
		page := s.open(folder).want(http.StatusOK)
		html := page.Body.String()
		files := references.FindAllStringSubmatch(html, -1)
		if len(files) != 4 || foreign.MatchString(html) {
			t.Errorf("%s links to %v", folder, files)
		}
		for _, file := range files {
			s.open(path.Join(path.Dir(folder), file[1])).want(http.StatusOK)
		}
		if inline := regexp.MustCompile(`<script>|<style>|style=| on[a-z]+=|\{\{`).FindString(html); inline != "" {
			t.Errorf("%s has %s", folder, inline)
		}
		wantOwnHostOnly(t, page.Header().Get("Content-Security-Policy"))
	}
	for _, match := range refers.FindAllStringSubmatch(s.open("/docs/swagger-ui.css").Body.String(), -1) {
		if !strings.HasPrefix(match[1], "data:") {
			t.Errorf("the style sheet asks for %s", match[0])
		}
	}
	if script := s.open("/docs/docs.js").Body.String(); foreign.MatchString(strings.ReplaceAll(script, "\n//", "\n")) || !strings.Contains(script, "validatorUrl: null") {
		t.Errorf("the script names a host: %s", script)
	}
}

// wantOwnHostOnly wants every source of the policy to be this server, the page
// itself or nothing, and no script in the page.
func wantOwnHostOnly(t *testing.T, policy string) {
	t.Helper()
	directives := map[string]string{}
	for directive := range strings.SplitSeq(policy, ";") {
		name, sources, _ := strings.Cut(strings.TrimSpace(directive), " ")
		directives[name] = sources
		for source := range strings.FieldsSeq(sources) {
			switch source {
			case "'none'", "'self'", "data:":
			case "'unsafe-inline'":
				if name != "style-src" {
					t.Errorf("%s allows %s", name, source)
				}
			default:
				t.Errorf("%s allows %s", name, source)
			}
		}
	}
	if directives["default-src"] != "'none'" || directives["script-src"] != "'self'" || directives["connect-src"] != "'self'" {
		t.Errorf("policy %q", policy)
	}
}

func TestTheStartPageLinksToTheContract(t *testing.T) {
	t.Parallel()
	s := openService(t)
	html := s.open("/").want(http.StatusOK).Body.String()
	for _, link := range []string{`href="docs"`, `href="openapi.json"`} {
		if !strings.Contains(html, link) {
			t.Errorf("no %s", link)
		}
	}
	if policy := s.open("/").Header().Get("Content-Security-Policy"); !strings.Contains(policy, "default-src 'none'") || strings.Contains(policy, "script-src") {
		t.Errorf("the start page allows %q", policy)
	}
}
