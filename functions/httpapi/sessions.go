package httpapi

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"strconv"

	"github.com/wafleet/wafleet/shared/session"
	"github.com/wafleet/wafleet/shared/store"
)

// maxPage is how many sessions one answer holds at most, and how many it holds
// where the caller sets no limit. At about 1 KiB each it fits Lambda's 6 MB.
const maxPage = 1000

// start answers POST /api/sessions/{session}/start: 201 where this call created
// the session, 200 where it started one that was there.
func (h *Handler) start(c *call) error {
	config, err := h.readConfig(c)
	if err != nil {
		return err
	}
	s, created, err := h.control.Start(c.context(), c.caller.Actor(c.requestID), c.session, config, c.caller.Quota)
	if err != nil {
		return err
	}
	return writeMutation(c, s, created, "Session started successfully")
}

// create answers POST /api/sessions.
func (h *Handler) create(c *call) error {
	body, err := readBody(c)
	if err != nil {
		return err
	}
	wish, err := session.DecodeCreate(body, h.control.Defaults())
	if err != nil {
		return err
	}
	if c.session = wish.Name; c.session == "" {
		c.session = session.NewName()
	}
	s, err := h.control.Create(c.context(), c.caller.Actor(c.requestID), c.session, wish.Config, wish.Start, c.caller.Quota)
	if err != nil {
		return err
	}
	return writeMutation(c, s, true, "Session created successfully")
}

// stop answers POST /api/sessions/{session}/stop.
func (h *Handler) stop(c *call) error {
	return h.mutate(c, h.control.Stop, "Session paused successfully")
}

// restart answers POST /api/sessions/{session}/restart.
func (h *Handler) restart(c *call) error {
	config, err := h.readConfig(c)
	if err != nil {
		return err
	}
	s, err := h.control.Restart(c.context(), c.caller.Actor(c.requestID), c.session, config)
	if err != nil {
		return err
	}
	return writeMutation(c, s, false, "Session restarted successfully")
}

// update answers PUT /api/sessions/{session}.
func (h *Handler) update(c *call) error {
	body, err := readBody(c)
	if err != nil {
		return err
	}
	config, err := session.DecodeUpdate(body, h.control.Defaults())
	if err != nil {
		return err
	}
	s, err := h.control.Update(c.context(), c.caller.Actor(c.requestID), c.session, config)
	if err != nil {
		return err
	}
	return writeMutation(c, s, false, "Session updated successfully")
}

// logout answers POST /api/sessions/{session}/logout.
func (h *Handler) logout(c *call) error {
	return h.mutate(c, h.control.Logout, "Logout performed successfully")
}

// remove answers DELETE /api/sessions/{session}.
func (h *Handler) remove(c *call) error {
	return h.mutate(c, h.control.Delete, "Session deleted successfully")
}

// mutate is a request that takes nothing from its body.
func (h *Handler) mutate(c *call, do func(context.Context, store.Actor, session.Name) (session.Session, error), message string) error {
	if err := checkNoFields(c); err != nil {
		return err
	}
	s, err := do(c.context(), c.caller.Actor(c.requestID), c.session)
	if err != nil {
		return err
	}
	return writeMutation(c, s, false, message)
}

// readConfig returns nil where the body has none.
func (h *Handler) readConfig(c *call) (*session.Config, error) {
	body, err := readBody(c)
	if err != nil {
		return nil, err
	}
	return session.DecodeStart(body, h.control.Defaults())
}

func writeMutation(c *call, s session.Session, created bool, message string) error {
	status := http.StatusOK
	if created {
		status = http.StatusCreated
	}
	return writeJSON(c, status, mutation{Success: true, Message: message, resource: resourceOf(s)})
}

// me answers GET /api/sessions/{session}/me: null while no device is linked.
func (h *Handler) me(c *call) error {
	s, err := h.control.Get(c.context(), c.caller.Tenant, c.session)
	if err != nil {
		return err
	}
	return writeJSON(c, http.StatusOK, accountOf(s))
}

// get answers GET /api/sessions/{session}.
func (h *Handler) get(c *call) error {
	s, err := h.control.Get(c.context(), c.caller.Tenant, c.session)
	if err != nil {
		return err
	}
	return writeJSON(c, http.StatusOK, resourceOf(s))
}

// list answers GET /api/sessions.
func (h *Handler) list(c *call) error {
	filter, err := filterOf(c.r.URL.Query())
	if err != nil {
		return err
	}
	filter.Name = c.caller.Session
	found, err := h.control.List(c.context(), c.caller.Tenant, filter)
	if err != nil {
		return err
	}
	list := make([]resource, len(found))
	for i, s := range found {
		list[i] = resourceOf(s)
	}
	return writeJSON(c, http.StatusOK, list)
}

// filterOf reads all, limit and offset; other parameters are ignored.
func filterOf(query url.Values) (store.Filter, error) {
	filter := store.Filter{Limit: maxPage}
	var errs session.FieldErrors
	if values := query["all"]; values != nil {
		all, err := strconv.ParseBool(values[0])
		if err != nil || len(values) > 1 {
			errs = append(errs, &session.FieldError{Field: "all", Problem: "must be true or false"})
		}
		filter.All = all
	}
	readPage(query, &filter.Limit, &filter.Offset, &errs)
	if len(errs) > 0 {
		return store.Filter{}, errs
	}
	return filter, nil
}

func readPage(query url.Values, limit, offset *int, errs *session.FieldErrors) {
	readInt(query, "limit", 1, maxPage, limit, errs)
	readInt(query, "offset", 0, 1<<31-1, offset, errs)
}

func readInt(query url.Values, name string, low, high int, into *int, errs *session.FieldErrors) {
	values := query[name]
	if values == nil {
		return
	}
	n, err := strconv.Atoi(values[0])
	if err != nil || len(values) > 1 || n < low || n > high {
		*errs = append(*errs, &session.FieldError{Field: name, Problem: fmt.Sprintf("must be one whole number from %d to %d", low, high)})
		return
	}
	*into = n
}
