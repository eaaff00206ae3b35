package access

import (
	"errors"
	"testing"

	"github.com/wafleet/wafleet/shared/session"
	"github.com/wafleet/wafleet/shared/store"
)

func TestMay(t *testing.T) {
	t.Parallel()
	const nothing Right = 0
	f, nf := ErrForbidden, session.ErrNotFound
	// Of each caller: no session named, its own (or any), a foreign one.
	for _, row := range []struct {
		scope store.Scope
		bound session.Name
		on    map[Right][3]error
	}{
		{store.ScopeAdmin, "", map[Right][3]error{Read: {}, Code: {}, Act: {}, Keys: {}, nothing: {f, f, f}}},
		{store.ScopeTenant, "", map[Right][3]error{Read: {}, Code: {}, Act: {}, Keys: {f, f, f}, nothing: {f, f, f}}},
		{store.ScopeSession, "own", map[Right][3]error{Read: {nil, nil, nf}, Code: {f, nil, nf}, Act: {f, nil, nf}, Keys: {f, f, nf}, nothing: {f, f, nf}}},
		{store.ScopeRead, "", map[Right][3]error{Read: {}, Code: {f, f, f}, Act: {f, f, f}, Keys: {f, f, f}, nothing: {f, f, f}}},
		{store.ScopeRead, "own", map[Right][3]error{Read: {nil, nil, nf}, Code: {f, f, nf}, Act: {f, f, nf}, Keys: {f, f, nf}, nothing: {f, f, nf}}},
		// What no row can be is no hole either.
		{store.ScopeSession, "", map[Right][3]error{Read: {nil, nf, nf}, Act: {f, nf, nf}}},
		{"root", "", map[Right][3]error{Read: {f, f, f}, Act: {f, f, f}}},
		{"", "", map[Right][3]error{Read: {f, f, f}}},
	} {
		for right, outcomes := range row.on {
			for i, name := range []session.Name{"", "own", "foreign"} {
				if err := (Caller{Scope: row.scope, Session: row.bound}).May(right, name); !errors.Is(err, outcomes[i]) {
					t.Errorf("scope %q bound to %q, right %d on %q: %v, want %v", row.scope, row.bound, right, name, err, outcomes[i])
				}
			}
		}
	}
}
