package wasim

import (
	waBinary "go.mau.fi/whatsmeow/binary"
	"go.mau.fi/whatsmeow/types"
)

// Notify queues a notification that means nothing for a device, which acknowledges it all the same.
func (s *Server) Notify(jid, id string) {
	sel, _ := parseSelector(jid)
	s.mu.Lock()
	d := s.devicesLocked(sel)[0]
	s.mu.Unlock()
	s.enqueue(d, id, waBinary.Node{Tag: "notification", Attrs: waBinary.Attrs{
		"id": id, "from": types.ServerJID, "type": "server", "t": unixNow(),
	}})
}
