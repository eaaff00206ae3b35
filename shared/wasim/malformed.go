package wasim

import (
	"fmt"
	"slices"

	waBinary "go.mau.fi/whatsmeow/binary"
	"go.mau.fi/whatsmeow/binary/token"
	"go.mau.fi/whatsmeow/proto/waServerSync"
	"go.mau.fi/whatsmeow/types"
	"google.golang.org/protobuf/proto"

	"go.mau.fi/whatsmeow/appstate"
)

// MalformedKind says where in whatsmeow a stanza panics. All of them work on a logged-in client and on one that waits
// for a scan, and none is recovered by whatsmeow: they end the client's process.
type MalformedKind string

const (
	// MalformedOff takes back what was announced for coming logins.
	MalformedOff MalformedKind = "off"
	// MalformedHandler panics in the node handler itself: a pair-success without an id, which it asserts to be a string.
	MalformedHandler MalformedKind = "handler"
	// MalformedFrame panics in the frame reader: a node whose tag is a list instead of a string.
	MalformedFrame MalformedKind = "frame"
	// MalformedGoroutine panics in a goroutine that a handler has started: an app state notification, on which the client
	// fetches the collection and gets a mutation too short for the checksum that it is to end with. A client that waits for
	// a scan may panic before the fetch, because it has no stores yet.
	MalformedGoroutine MalformedKind = "goroutine"
)

// poison is a malformed stanza for coming logins.
type poison struct {
	sel  selector
	kind MalformedKind
	left int // logins; negative is no end
}

// Malformed sends a stanza that makes whatsmeow panic. With times 0 it goes to the connections that are open now; jid
// may be empty: all, registering ones included. Otherwise it goes to the next so many logins of the device (a number:
// of all its devices; "": of anybody, registrations included), right after the login has succeeded; negative times last
// until MalformedOff for the same jid. It returns to how many connections it was sent at once.
func (s *Server) Malformed(jid string, kind MalformedKind, times int) (int, error) {
	switch kind {
	case MalformedOff, MalformedHandler, MalformedFrame, MalformedGoroutine:
	default:
		return 0, fmt.Errorf("%w: %q; use handler, frame, goroutine or off", ErrBadMode, kind)
	}
	if kind == MalformedOff || times != 0 {
		return 0, s.poisonLogins(jid, kind, times)
	}
	list, err := s.selected(jid)
	if err != nil {
		return 0, err
	}
	for _, c := range list {
		c.pushMalformed(kind)
	}
	return len(list), nil
}

func (s *Server) poisonLogins(jid string, kind MalformedKind, times int) error {
	sel, err := parseSelector(jid)
	if err != nil {
		return err
	}
	s.mu.Lock()
	s.poisons = slices.DeleteFunc(s.poisons, func(p *poison) bool { return p.sel == sel })
	if kind != MalformedOff {
		s.poisons = append(s.poisons, &poison{sel, kind, times})
	}
	s.mu.Unlock()
	s.record(Event{Kind: EventFault, JID: jid, Detail: fmt.Sprintf("malformed %s x %d", kind, times)}, nil)
	return nil
}

// takePoisonLocked uses up one malformed stanza for a login of d, which is nil for a registration; "" is none. Server.mu
// is held.
func (s *Server) takePoisonLocked(d *device) MalformedKind {
	i := slices.IndexFunc(s.poisons, func(p *poison) bool { return p.sel.matches(d) })
	if i < 0 {
		return ""
	}
	p := s.poisons[i]
	if p.left > 0 {
		if p.left--; p.left == 0 {
			s.poisons = slices.Delete(s.poisons, i, i+1)
		}
	}
	return p.kind
}

// pushMalformed queues the stanza; an empty kind is none.
func (c *conn) pushMalformed(kind MalformedKind) {
	if kind == "" {
		return
	}
	item := outItem{due: c.srv.due()}
	switch kind {
	case MalformedFrame:
		// Uncompressed; a node of one element, which is an empty list.
		item.raw = []byte{0, token.List8, 1, token.ListEmpty}
	case MalformedGoroutine:
		c.shortPatch.Store(true)
		item.node = waBinary.Node{
			Tag:   "notification",
			Attrs: waBinary.Attrs{"id": c.nextID("sync"), "from": types.ServerJID, "type": "server_sync", "t": unixNow()},
			Content: []waBinary.Node{{
				Tag: "collection", Attrs: waBinary.Attrs{"name": string(appstate.WAPatchRegular), "version": "1"},
			}},
		}
	default:
		item.node = serverIQ("", "md", waBinary.Node{Tag: "pair-success"})
		delete(item.node.Attrs, "id")
	}
	c.srv.record(Event{Kind: EventMalformed, Conn: c.id, JID: c.jid(), Detail: string(kind)}, nil)
	c.put(item)
}

// malformedPatch sets a mutation without a value, which ends with a checksum of 32 bytes in every other.
func malformedPatch() []byte {
	patch, _ := proto.Marshal(&waServerSync.SyncdPatch{ // has no required fields, so it never fails
		Version:   &waServerSync.SyncdVersion{Version: proto.Uint64(1)},
		Mutations: []*waServerSync.SyncdMutation{{Operation: waServerSync.SyncdMutation_SET.Enum()}},
	})
	return patch
}
