package httpapi

import (
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
	body, err := readBody(c)
	if err != nil {
		return err
	}
	config, err := session.DecodeStart(body, h.control.Defaults())
	if err != nil {
		return err
	}
	s, created, err := h.control.Start(c.context(), c.caller.Tenant, c.session, config)
	if err != nil {
		return err
	}
	status := http.StatusOK
	if created {
		status = http.StatusCreated
	}
	return writeJSON(c, status, mutation{Success: true, Message: "Session started successfully", resource: resourceOf(s)})
}

// stop answers POST /api/sessions/{session}/stop.
func (h *Handler) stop(c *call) error {
	if err := checkNoFields(c); err != nil {
		return err
	}
	s, err := h.control.Stop(c.context(), c.caller.Tenant, c.session)
	if err != nil {
		return err
	}
	return writeJSON(c, http.StatusOK, mutation{Success: true, Message: "Session paused successfully", resource: resourceOf(s)})
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
	readInt(query, "limit", 1, maxPage, &filter.Limit, &errs)
	readInt(query, "offset", 0, 1<<31-1, &filter.Offset, &errs)
	if len(errs) > 0 {
		return store.Filter{}, errs
	}
	return filter, nil
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
