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
