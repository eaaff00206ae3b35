package wasim

import (
	"fmt"

	waBinary "go.mau.fi/whatsmeow/binary"
)

// Logout unlinks a device, or all devices of a number, as the phone's owner would. Live sockets get stream:error 401
// device_removed; a device that is offline learns it from failure 401 at its next login.
func (s *Server) Logout(jid string) error {
	sel, err := parseSelector(jid)
	if err != nil {
		return err
	}
	s.mu.Lock()
	picked := s.devicesLocked(sel)
	if sel.all() || len(picked) == 0 {
		s.mu.Unlock()
		return fmt.Errorf("%w: %q", ErrUnknownDevice, jid)
	}
	var sockets []*conn
	for _, d := range picked {
		sockets = append(sockets, s.removeLocked(d)...)
	}
	s.mu.Unlock()
	err = s.persist(s.ctx)
	for _, d := range picked {
		s.record(Event{Kind: EventLogout, JID: d.jid().String()}, nil)
	}
	for _, c := range sockets {
		c.pushFinal(deviceRemoved(), "device removed")
	}
	return err
}

// removeLocked forgets a device and returns its sockets. Server.mu is held.
func (s *Server) removeLocked(d *device) []*conn {
	d.removed = true
	d.queue = nil
	delete(s.devices, d.noise)
	return append([]*conn(nil), d.sockets...)
}

func deviceRemoved() waBinary.Node {
	return waBinary.Node{
		Tag:     "stream:error",
		Attrs:   waBinary.Attrs{"code": "401"},
		Content: []waBinary.Node{{Tag: "conflict", Attrs: waBinary.Attrs{"type": "device_removed"}}},
	}
}

// userLogout serves remove-companion-device: the device is gone, the client gets its answer, and, if it has not closed
// the socket by then, stream:error device_removed after FinalDelay, and the end after another.
func (s *Server) userLogout(c *conn, iq *waBinary.Node) {
	s.mu.Lock()
	d := c.dev
	target, _ := parseSelector(attrString(iq.GetChildByTag("remove-companion-device"), "jid"))
	if d == nil || d.removed || target.all() || !target.matches(d) {
		s.mu.Unlock()
		c.push(iqError(iq, 404, "item-not-found"))
		return
	}
	s.removeLocked(d)
	s.mu.Unlock()
	if err := s.persist(s.ctx); err != nil {
		s.Logger.Error("state not written", "err", err)
	}
	s.record(Event{Kind: EventUserLogout, Conn: c.id, JID: d.jid().String()}, nil)
	c.push(iqResult(iq))
	c.put(outItem{due: s.due(), pause: s.FinalDelay, node: deviceRemoved()})
	c.put(outItem{pause: s.FinalDelay, end: DropClose, why: "user logout"})
}
