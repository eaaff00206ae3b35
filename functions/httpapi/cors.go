package httpapi

import (
	"fmt"
	"net/http"
	"net/url"
	"strings"

	"github.com/rs/cors"
)

// corsMaxAge is how long a browser may go on without asking again, in seconds.
const corsMaxAge = 600

// newCORS lets pages of other origins call the API; nil for none. A page never
// gets to send cookies: the API has none, its key is in a header. A preflight is
// answered by the handler itself, as every OPTIONS is.
func newCORS(origins []string) *cors.Cors {
	if len(origins) == 0 {
		return nil
	}
	return cors.New(cors.Options{
		AllowedOrigins: origins,
		AllowedMethods: []string{http.MethodGet, http.MethodHead, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete},
		AllowedHeaders: []string{"apikey", "X-Api-Key", "Content-Type", "Idempotency-Key", "If-None-Match", "X-Request-Id"},
		ExposedHeaders: []string{
			"X-Request-Id", "ETag", "Retry-After", "Idempotency-Replayed",
			"RateLimit", "RateLimit-Policy", "RateLimit-Limit", "RateLimit-Remaining", "RateLimit-Reset",
		},
		MaxAge:             corsMaxAge,
		OptionsPassthrough: true,
	})
}

// ParseOrigins reads a list with commas of origins as browsers send them, such
// as https://app.example.com or http://localhost:3000, or "*" for all. The error
// names every entry that is none, without a password in it.
func ParseOrigins(list string) ([]string, error) {
	var origins, wrong []string
	for entry := range strings.SplitSeq(list, ",") {
		entry = strings.TrimSpace(entry)
		switch {
		case entry == "":
		case entry == "*" || isOrigin(entry):
			origins = append(origins, entry)
		default:
			wrong = append(wrong, nameOf(entry))
		}
	}
	if len(wrong) > 0 {
		return nil, fmt.Errorf("has entries that are no origin such as https://app.example.com: %s", strings.Join(wrong, ", "))
	}
	if len(origins) > 1 && strings.Contains(strings.Join(origins, ","), "*") {
		return nil, fmt.Errorf(`has "*" among other origins: it has to stand alone`)
	}
	return origins, nil
}

// isOrigin wants the text to be the whole origin, and what a browser would send:
// one that says the scheme's own port never matches.
func isOrigin(text string) bool {
	u, err := url.Parse(text)
	if err != nil || u.Hostname() == "" || strings.ContainsAny(text, "*@") || text != u.Scheme+"://"+u.Host {
		return false
	}
	switch u.Scheme {
	case "http":
		return u.Port() != "80" && !strings.HasSuffix(u.Host, ":")
	case "https":
		return u.Port() != "443" && !strings.HasSuffix(u.Host, ":")
	}
	return false
}

func nameOf(entry string) string {
	if at := strings.LastIndexByte(entry, '@'); at >= 0 {
		entry = "..." + entry[at:]
	}
	return fmt.Sprintf("%q", entry)
}
