package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"

	"github.com/wafleet/wafleet/shared/session"
	"github.com/wafleet/wafleet/shared/store"
)

// A device that is linked at the real WhatsApp must never log in at the
// simulator: it would be refused as unknown, and its credentials removed. One
// run without a network would cost every link. So a run with the real one
// leaves a mark, and where there is one the simulator is used only if it knows
// every linked device.

// errLinkedElsewhere: the simulator would destroy links.
var errLinkedElsewhere = errors.New("sessions on this data are linked at the real WhatsApp, which the simulator would undo; give another directory with DATA=, or WHATSAPP=real")

func realMark(data *dataDir) string { return data.in("real-whatsapp") }

// markReal remembers that links may be real from now on.
func markReal(data *dataDir) error {
	return os.WriteFile(realMark(data), []byte("this data was used with the real WhatsApp\n"), 0o600)
}

// linkReader lists the sessions of a tenant.
type linkReader interface {
	Sessions(ctx context.Context, tenant session.TenantID, filter store.Filter) ([]session.Session, error)
}

// checkLinks returns errLinkedElsewhere where a linked device is none of known.
func checkLinks(ctx context.Context, data *dataDir, from linkReader, tenant session.TenantID, known map[string]bool) error {
	if _, err := os.Stat(realMark(data)); errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	const page = 500
	for offset := 0; ; offset += page {
		list, err := from.Sessions(ctx, tenant, store.Filter{All: true, Limit: page, Offset: offset})
		if err != nil {
			return fmt.Errorf("look for linked devices: %w", err)
		}
		for _, s := range list {
			if s.Run.JID != "" && !known[s.Run.JID] {
				return errLinkedElsewhere
			}
		}
		if len(list) < page {
			return nil
		}
	}
}
