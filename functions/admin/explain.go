package main

import (
	"errors"
	"fmt"
	"strings"

	"github.com/wafleet/wafleet/functions/access"
	"github.com/wafleet/wafleet/shared/session"
	"github.com/wafleet/wafleet/shared/store"
)

// explain says what to do about an error.
func explain(err error) error {
	for _, known := range []struct {
		is   error
		next string
	}{
		{access.ErrTenantNotFound, "list-tenants shows them, create-tenant makes one"},
		{store.ErrTenantExists, "use it as it is, or choose another name"},
		{access.ErrKeyNotFound, "list-keys shows the tenant's; one that is revoked or expired cannot be rotated: create-key makes another"},
		{store.ErrSchema, "run migrate of this version first"},
		{session.ErrUnavailable, "check that DATABASE_URL is right (or DATABASE_HOST and who logs in), that its server runs and that AWS may be asked for what is needed, then try again"},
	} {
		if errors.Is(err, known.is) {
			return fmt.Errorf("%w: %s", err, known.next)
		}
	}
	var one *session.FieldError
	var many session.FieldErrors
	switch {
	case errors.As(err, &one):
		many = session.FieldErrors{one}
	case !errors.As(err, &many):
		return err
	}
	texts := make([]string, len(many))
	for i, mistake := range many {
		texts[i] = "--" + flagOf(mistake.Field) + " " + mistake.Problem
	}
	return errors.New(strings.Join(texts, "; "))
}

// flagOf is the flag that stands for a field of the API.
func flagOf(field string) string {
	switch field {
	case "expiresAt":
		return "expires-at"
	case "expiresInSeconds":
		return "expires-in"
	}
	return field
}
