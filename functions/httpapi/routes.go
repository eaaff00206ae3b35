package httpapi

import (
	"net/http"

	"github.com/wafleet/wafleet/functions/access"
)

// built is every endpoint that does something.
func (h *Handler) built() []route {
	return []route{
		{method: http.MethodGet, pattern: "/", do: page},
		{method: http.MethodGet, pattern: "/ping", do: ping},
		{method: http.MethodGet, pattern: "/health", do: h.health},
		{method: http.MethodGet, pattern: "/openapi.json", do: openAPI},
		{method: http.MethodGet, pattern: "/docs", do: docs},
		{method: http.MethodGet, pattern: "/docs/{asset}", do: docsAsset},

		{method: http.MethodGet, pattern: "/api/server/version", needs: access.Read, do: h.serverVersion},
		{method: http.MethodGet, pattern: "/api/version", needs: access.Read, do: h.serverVersion},
		{method: http.MethodGet, pattern: "/api/server/status", needs: access.Read, do: h.serverStatus},

		{method: http.MethodGet, pattern: "/api/sessions", needs: access.Read, do: h.list},
		{method: http.MethodPost, pattern: "/api/sessions", needs: access.Act, do: h.create},
		{method: http.MethodGet, pattern: "/api/sessions/{session}", needs: access.Read, do: h.get},
		{method: http.MethodPut, pattern: "/api/sessions/{session}", needs: access.Act, do: h.update},
		{method: http.MethodDelete, pattern: "/api/sessions/{session}", needs: access.Act, do: h.remove},
		{method: http.MethodGet, pattern: "/api/sessions/{session}/me", needs: access.Read, do: h.me},
		{method: http.MethodPost, pattern: "/api/sessions/{session}/start", needs: access.Act, do: h.start},
		{method: http.MethodPost, pattern: "/api/sessions/{session}/stop", needs: access.Act, do: h.stop},
		{method: http.MethodPost, pattern: "/api/sessions/{session}/restart", needs: access.Act, do: h.restart},
		{method: http.MethodPost, pattern: "/api/sessions/{session}/logout", needs: access.Act, do: h.logout},

		{method: http.MethodGet, pattern: "/api/{session}/auth/qr", needs: access.Code, do: h.qr},
		{method: http.MethodGet, pattern: "/api/sessions/{session}/qrcode", needs: access.Code, do: h.qrJSON},
		{method: http.MethodPost, pattern: "/api/{session}/auth/request-code", needs: access.Code, do: h.requestCode, keeps: nothing},

		{method: http.MethodGet, pattern: "/api/keys", needs: access.Keys, do: h.listKeys},
		{method: http.MethodPost, pattern: "/api/keys", needs: access.Keys, do: h.createKey, keeps: without("key")},
		{method: http.MethodDelete, pattern: "/api/keys/{id}", needs: access.Keys, do: h.revokeKey},
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
