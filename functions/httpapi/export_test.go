package httpapi

import "strings"

// Route is a route as tests see it.
type Route struct {
	Method, Pattern, Path string
	Unbuilt               bool
}

// RoutesOf lists every route, with a path that fits it.
func RoutesOf(h *Handler) []Route {
	var list []Route
	for _, routes := range [][]route{h.built(), unbuilt} {
		for _, r := range routes {
			path := strings.ReplaceAll(strings.TrimSuffix(r.pattern, subtreeSuffix), sessionParam, "my-session")
			list = append(list, Route{Method: r.method, Pattern: r.pattern, Path: path, Unbuilt: r.unbuilt})
		}
	}
	return list
}

// RequestTimeout is how long any request may take.
const RequestTimeout = requestTimeout

// RoutesMissingFrom returns the built routes under /api that a list lacks.
func RoutesMissingFrom(has func(method, pattern string) bool) (missing []string) {
	for _, r := range (&Handler{}).built() {
		if len(r.pattern) > 4 && r.pattern[:5] == "/api/" && !has(r.method, r.pattern) {
			missing = append(missing, r.method+" "+r.pattern)
		}
	}
	return missing
}
