package httpapi

import (
	"net/http"
	"time"

	"github.com/wafleet/wafleet/functions/access"
	"github.com/wafleet/wafleet/shared/session"
	"github.com/wafleet/wafleet/shared/store"
)

// keyResource is a key as clients read it: nothing of its secret.
type keyResource struct {
	ID         string      `json:"id"`
	Name       string      `json:"name"`
	Scope      store.Scope `json:"scope"`
	IsAdmin    bool        `json:"isAdmin"` // WAHA's word for the scope admin
	Session    *string     `json:"session"`
	CreatedAt  time.Time   `json:"createdAt"`
	CreatedBy  string      `json:"createdBy"`
	ExpiresAt  *time.Time  `json:"expiresAt"`
	LastUsedAt *time.Time  `json:"lastUsedAt"`
	RevokedAt  *time.Time  `json:"revokedAt"`
}

func keyResourceOf(k store.Key) keyResource {
	r := keyResource{
		ID: k.ID, Name: k.Name, Scope: k.Scope, IsAdmin: k.Scope == store.ScopeAdmin, CreatedAt: k.CreatedAt.UTC(), CreatedBy: k.CreatedBy,
		ExpiresAt: timeOrNull(k.ExpiresAt), LastUsedAt: timeOrNull(k.LastUsedAt), RevokedAt: timeOrNull(k.RevokedAt),
	}
	if k.Session != "" {
		name := string(k.Session)
		r.Session = &name
	}
	return r
}

func timeOrNull(at time.Time) *time.Time {
	if at.IsZero() {
		return nil
	}
	at = at.UTC()
	return &at
}

// newKeyBody is the one answer that has the key itself.
type newKeyBody struct {
	Success bool   `json:"success"`
	Message string `json:"message"`
	keyResource
	Key string `json:"key"`
}

// listKeys answers GET /api/keys, the newest first.
func (h *Handler) listKeys(c *call) error {
	var (
		errs session.FieldErrors
		page = store.Page{Limit: maxPage}
	)
	readPage(c.r.URL.Query(), &page.Limit, &page.Offset, &errs)
	if len(errs) > 0 {
		return errs
	}
	found, err := h.access.Keys(c.context(), c.caller.Tenant, page)
	if err != nil {
		return err
	}
	list := make([]keyResource, len(found))
	for i, key := range found {
		list[i] = keyResourceOf(key)
	}
	return writeJSON(c, http.StatusOK, list)
}

// createKey answers POST /api/keys.
func (h *Handler) createKey(c *call) error {
	body, err := readBody(c)
	if err != nil {
		return err
	}
	request, err := access.DecodeKeyRequest(body)
	if err != nil {
		return err
	}
	made, secret, err := h.access.CreateKey(c.context(), c.caller.Actor(c.requestID), request)
	if err != nil {
		return err
	}
	return writeJSON(c, http.StatusCreated, newKeyBody{
		Success: true, Message: "API key created. It is shown only this once", keyResource: keyResourceOf(made), Key: secret.Reveal(),
	})
}

// revokeKey answers DELETE /api/keys/{id}.
func (h *Handler) revokeKey(c *call) error {
	if err := checkNoFields(c); err != nil {
		return err
	}
	const idAt = 2 // which segment is the id
	if err := h.access.RevokeKey(c.context(), c.caller.Actor(c.requestID), c.segments[idAt]); err != nil {
		return err
	}
	return writeJSON(c, http.StatusOK, map[string]any{"success": true, "message": "API key revoked"})
}
