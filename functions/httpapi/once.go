package httpapi

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"

	"github.com/wafleet/wafleet/shared/session"
	"github.com/wafleet/wafleet/shared/store"
)

// answer is a whole one, on its way to who asked.
type answer = store.Answer

// keep is what of a route's answer may be stored for who asks again. The zero
// value is everything. An answer with a credential must not be stored whole:
//
//	{..., do: h.requestCode, keeps: nothing}       the header is ignored
//	{..., do: h.makeKey, keeps: without("key")}    the field is gone from the repeated answer
type keep struct {
	nothing bool
	without []string // fields of the JSON object
}

var nothing = keep{nothing: true}

func without(fields ...string) keep { return keep{without: fields} }

// repeatable reports whether an Idempotency-Key means something to the route.
// Nothing of an unbuilt one would be kept.
func (c *call) repeatable() bool {
	return c.r.Method == http.MethodPost && !c.route.keeps.nothing && !c.route.unbuilt
}

// once runs the endpoint unless its answer is there already.
func (h *Handler) once(c *call, values []string) error {
	key, err := idempotencyKeyOf(values)
	if err != nil {
		return err
	}
	body, err := readBody(c)
	if err != nil {
		return err
	}
	caller := c.r
	cancel := c.stay()
	defer func() {
		c.r = caller
		cancel()
	}()
	c.r.Body = io.NopCloser(bytes.NewReader(body))
	claim, err := h.control.Claim(c.context(), store.Repeatable{Tenant: c.caller.Tenant, Key: key, Fingerprint: fingerprintOf(c, body)})
	if err != nil {
		return err
	}
	if claim.Answer != nil {
		c.w.Header().Set("Idempotency-Replayed", "true")
		c.send(*claim.Answer)
		return nil
	}
	return h.runClaimed(c, claim)
}

// runClaimed runs the endpoint and settles the claim, also where it panics,
// before the answer goes out: who has an answer can rely on it.
func (h *Handler) runClaimed(c *call, claim store.IdempotencyClaim) error {
	var held answer
	defer func() {
		if err := h.control.Settle(c.context(), claim, c.route.keeps.of(held)); err != nil {
			h.log.WarnContext(c.context(), "an idempotency key could not be settled", "request_id", c.requestID, "error", err.Error())
		}
		if c.held = nil; held.Status != 0 {
			c.send(held)
		}
	}()
	c.held = &held
	if err := c.route.do(c); err != nil {
		h.fail(c, err)
	}
	return nil
}

// stay takes the caller's leaving out of the request's context, whose deadline
// stays: a claim that is cut short would stand there for a minute.
func (c *call) stay() context.CancelFunc {
	ctx, cancel := context.WithoutCancel(c.context()), context.CancelFunc(func() {})
	if deadline, ok := c.context().Deadline(); ok {
		ctx, cancel = context.WithDeadline(ctx, deadline)
	}
	c.r = c.r.WithContext(ctx)
	return cancel
}

// of returns what is stored of an answer; nil for nothing.
func (k keep) of(a answer) *answer {
	if !kept(a.Status) {
		return nil
	}
	for _, field := range k.without {
		var object map[string]json.RawMessage
		if json.Unmarshal(a.Body, &object) != nil {
			return nil
		}
		delete(object, field)
		body, err := json.Marshal(object)
		if err != nil {
			return nil
		}
		a.Body = append(body, '\n')
	}
	return &a
}

// kept reports whether a second try would come to the same answer: trouble of
// ours passes, limits too, and a key may be given its rights.
func kept(status int) bool {
	switch status {
	case http.StatusUnauthorized, http.StatusForbidden, http.StatusTooManyRequests:
		return false
	}
	return status != 0 && status < http.StatusInternalServerError && status != statusClientClosed
}

const maxIdempotencyKey = 255

func idempotencyKeyOf(values []string) (string, error) {
	problem := &session.FieldError{Field: "Idempotency-Key", Problem: fmt.Sprintf("must be one header of 1 to %d printable ASCII characters", maxIdempotencyKey)}
	if len(values) != 1 || values[0] == "" || len(values[0]) > maxIdempotencyKey {
		return "", problem
	}
	for i := range len(values[0]) {
		if c := values[0][i]; c < ' ' || c > '~' {
			return "", problem
		}
	}
	return values[0], nil
}

// fingerprintOf tells requests apart. Every part goes in with its length, so
// that no two lists of parts look the same.
func fingerprintOf(c *call, body []byte) (sum [32]byte) {
	hash := sha256.New()
	add := func(part string) {
		_ = binary.Write(hash, binary.BigEndian, uint64(len(part))) // a hash takes everything
		_, _ = io.WriteString(hash, part)
	}
	add(c.caller.KeyID)
	add(c.r.Method)
	for _, segment := range c.segments {
		add(url.PathEscape(segment))
	}
	add("/")
	hash.Write(body)
	return [32]byte(hash.Sum(nil))
}
