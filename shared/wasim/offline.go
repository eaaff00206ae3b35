package wasim

import (
	"strconv"

	waBinary "go.mau.fi/whatsmeow/binary"
)

// becameActive follows the client's <passive><active/>: it gets a preview of what waits for it, the waiting stanzas
// marked offline, and the end of them. Until it acknowledges a stanza, the next login brings it again.
func (c *conn) becameActive() {
	s := c.srv
	s.mu.Lock()
	d := c.dev
	if d == nil || d.removed {
		s.mu.Unlock()
		return
	}
	queue := append([]*queued(nil), d.queue...)
	jid := d.jid().String()
	s.mu.Unlock()

	total, messages, notifications := strconv.Itoa(len(queue)), 0, 0
	for _, q := range queue {
		switch q.node.Tag {
		case "message":
			messages++
		case "notification":
			notifications++
		}
	}
	c.push(waBinary.Node{Tag: "ib", Content: []waBinary.Node{{Tag: "offline_preview", Attrs: waBinary.Attrs{
		"count": total, "message": strconv.Itoa(messages), "notification": strconv.Itoa(notifications),
		"receipt": "0", "appdata": "0",
	}}}})
	for i, q := range queue {
		node := q.node
		node.Attrs = waBinary.Attrs{"offline": strconv.Itoa(i)}
		for k, v := range q.node.Attrs {
			node.Attrs[k] = v
		}
		c.push(node)
	}
	c.push(waBinary.Node{Tag: "ib", Content: []waBinary.Node{{Tag: "offline", Attrs: waBinary.Attrs{"count": total}}}})
	s.record(Event{Kind: EventActive, Conn: c.id, JID: jid}, nil)
	s.shareAppState(d)
}

// enqueue sends a stanza to a device now, if it is connected, and at every login until it acknowledges it.
func (s *Server) enqueue(d *device, id string, node waBinary.Node) {
	s.mu.Lock()
	if d.removed {
		s.mu.Unlock()
		return
	}
	d.queue = append(d.queue, &queued{id: id, node: node})
	sockets := append([]*conn(nil), d.sockets...)
	s.mu.Unlock()
	for _, c := range sockets {
		c.push(node)
	}
}
