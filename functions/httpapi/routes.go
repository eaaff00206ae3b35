package httpapi

import "net/http"

// built is every endpoint that does something.
func (h *Handler) built() []route {
	return []route{
		{method: http.MethodGet, pattern: "/", do: page},
		{method: http.MethodGet, pattern: "/ping", do: ping},
		{method: http.MethodGet, pattern: "/health", do: h.health},

		{method: http.MethodGet, pattern: "/api/server/version", do: h.serverVersion},
		{method: http.MethodGet, pattern: "/api/version", do: h.serverVersion},
		{method: http.MethodGet, pattern: "/api/server/status", do: h.serverStatus},

		{method: http.MethodGet, pattern: "/api/sessions", do: h.list},
		{method: http.MethodPost, pattern: "/api/sessions", do: h.create},
		{method: http.MethodGet, pattern: "/api/sessions/{session}", do: h.get},
		{method: http.MethodPut, pattern: "/api/sessions/{session}", do: h.update},
		{method: http.MethodDelete, pattern: "/api/sessions/{session}", do: h.remove},
		{method: http.MethodGet, pattern: "/api/sessions/{session}/me", do: h.me},
		{method: http.MethodPost, pattern: "/api/sessions/{session}/start", do: h.start},
		{method: http.MethodPost, pattern: "/api/sessions/{session}/stop", do: h.stop},
		{method: http.MethodPost, pattern: "/api/sessions/{session}/restart", do: h.restart},
		{method: http.MethodPost, pattern: "/api/sessions/{session}/logout", do: h.logout},

		{method: http.MethodGet, pattern: "/api/{session}/auth/qr", do: h.qr},
		{method: http.MethodGet, pattern: "/api/sessions/{session}/qrcode", do: h.qrJSON},
		{method: http.MethodPost, pattern: "/api/{session}/auth/request-code", do: h.requestCode, keeps: nothing},
	}
}

// extra is routes of a special build; a release has none.
var extra []route

func newRoutes(h *Handler) *node {
	root := newNode()
	for _, list := range [][]route{h.built(), unbuilt, extra} {
		for _, r := range list {
			root.add(r)
		}
	}
	return root
}
