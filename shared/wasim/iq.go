package wasim

import (
	"bytes"
	"strconv"

	waBinary "go.mau.fi/whatsmeow/binary"
	"go.mau.fi/whatsmeow/types"
)

// handle serves one stanza of a client. It runs in the reader's goroutine, so stanzas are answered in order.
func (c *conn) handle(n *waBinary.Node) {
	switch n.Tag {
	case "iq":
		c.handleIQ(n)
	case "ack":
		c.acknowledged(n)
	case "receipt":
		c.acknowledged(n)
		c.srv.record(Event{Kind: EventReceipt, Conn: c.id, JID: c.jid(), Detail: attrString(*n, "type")}, nil)
		c.pushAck(n)
	case "message", "call", "notification":
		c.pushAck(n)
	}
	// presence, chatstate and ib want no answer
}

// jid is the device that the connection is logged in as, "" while there is none.
func (c *conn) jid() string {
	c.srv.mu.Lock()
	defer c.srv.mu.Unlock()
	if c.dev == nil {
		return ""
	}
	return c.dev.jid().String()
}

// acknowledged forgets the queued stanza that the client has taken.
func (c *conn) acknowledged(n *waBinary.Node) {
	id := attrString(*n, "id")
	c.srv.mu.Lock()
	d := c.dev
	taken := d != nil && d.acked(id)
	shared := taken && d.sharing == id
	if shared {
		d.shared = true
	}
	c.srv.mu.Unlock()
	if shared {
		c.srv.saver.later()
	}
	if taken {
		c.srv.record(Event{Kind: EventTaken, Conn: c.id, JID: d.jid().String(), Detail: id}, nil)
	}
}

func (c *conn) pushAck(n *waBinary.Node) {
	ack := waBinary.Node{Tag: "ack", Attrs: waBinary.Attrs{
		"class": n.Tag, "id": attrString(*n, "id"), "t": unixNow(),
	}}
	if to, ok := n.Attrs["to"].(types.JID); ok {
		ack.Attrs["from"] = to
	}
	if kind := attrString(*n, "type"); kind != "" && n.Tag == "receipt" {
		ack.Attrs["type"] = kind
	}
	c.push(ack)
}

// handleIQ answers every request, if only with an empty result: an iq without an answer costs the client 75 s.
func (c *conn) handleIQ(iq *waBinary.Node) {
	switch attrString(*iq, "type") {
	case "get", "set":
	default:
		c.srv.pairAnswer(c, iq)
		return
	}
	first := ""
	if children := iq.GetChildren(); len(children) > 0 {
		first = children[0].Tag
	}
	switch attrString(*iq, "xmlns") + " " + first {
	case "md link_code_companion_reg":
		c.srv.linkStage(c, iq)
	case "md remove-companion-device":
		c.srv.userLogout(c, iq)
	case "encrypt count":
		c.push(iqResult(iq, c.preKeyCount()))
	case "encrypt registration":
		c.storePreKeys(iq)
	case "encrypt key":
		c.push(iqResult(iq, c.srv.bundles(iq.GetChildByTag("key"))))
	case "passive active":
		c.push(iqResult(iq))
		c.becameActive()
	case "usync usync":
		c.push(iqResult(iq, c.srv.usync(iq.GetChildByTag("usync"))))
	case "privacy privacy":
		c.push(iqResult(iq, waBinary.Node{Tag: "privacy"}))
	case "w:sync:app:state sync":
		c.push(iqResult(iq, c.appStateSync(iq.GetChildByTag("sync"))))
	default:
		c.push(iqResult(iq))
	}
}

// preKeyCount is how many one-time pre-keys the server holds for the device. With FewPreKeys a device that has uploaded
// none has one: below the 5 at which whatsmeow uploads, above the 0 at which it uploads 812 instead of 50.
func (c *conn) preKeyCount() waBinary.Node {
	c.srv.mu.Lock()
	defer c.srv.mu.Unlock()
	n := 0
	if c.dev != nil {
		n = c.dev.preKeyNum
	}
	if n == 0 && c.srv.FewPreKeys {
		n = 1
	}
	return waBinary.Node{Tag: "count", Attrs: waBinary.Attrs{"value": strconv.Itoa(n)}}
}

// storePreKeys takes an upload: all of it is counted, the first heldPreKeys are kept.
func (c *conn) storePreKeys(iq *waBinary.Node) {
	list := iq.GetChildByTag("list")
	s := c.srv
	s.mu.Lock()
	if c.dev != nil {
		c.dev.preKeys = c.dev.preKeys[:0]
		c.dev.preKeyNum = 0
		for _, key := range list.GetChildrenByTag("key") {
			if k, ok := readPreKey(key); ok {
				c.dev.preKeyNum++
				if len(c.dev.preKeys) < heldPreKeys {
					c.dev.preKeys = append(c.dev.preKeys, k)
				}
			}
		}
		if k, ok := readPreKey(iq.GetChildByTag("skey")); ok && len(k.signature) == 64 {
			c.dev.signed = k
		}
	}
	s.mu.Unlock()
	s.saver.later()
	c.push(iqResult(iq))
}

func readPreKey(n waBinary.Node) (k preKey, ok bool) {
	// Cloned, because these are slices of a frame of 40 KB.
	k = preKey{
		id:        bytes.Clone(childBytes(n, "id")),
		value:     bytes.Clone(childBytes(n, "value")),
		signature: bytes.Clone(childBytes(n, "signature")),
	}
	return k, len(k.id) == 3 && len(k.value) == 32
}

func (k preKey) node(tag string) waBinary.Node {
	content := []waBinary.Node{{Tag: "id", Content: k.id}, {Tag: "value", Content: k.value}}
	if tag == "skey" {
		content = append(content, waBinary.Node{Tag: "signature", Content: k.signature})
	}
	return waBinary.Node{Tag: tag, Content: content}
}

// bundles answers a request for the pre-key bundles of devices; a device that does not exist gets an error node.
func (s *Server) bundles(request waBinary.Node) waBinary.Node {
	s.mu.Lock()
	defer s.mu.Unlock()
	var users []waBinary.Node
	for _, user := range request.GetChildrenByTag("user") {
		answer := waBinary.Node{Tag: "user", Attrs: waBinary.Attrs{"jid": user.Attrs["jid"]}}
		sel, err := parseSelector(attrString(user, "jid"))
		found := s.devicesLocked(sel)
		if err != nil || sel.index < 0 || len(found) != 1 {
			answer.Content = []waBinary.Node{{Tag: "error", Attrs: waBinary.Attrs{"code": "404", "text": "item-not-found"}}}
		} else {
			answer.Content = found[0].bundleLocked()
		}
		users = append(users, answer)
	}
	return waBinary.Node{Tag: "list", Content: users}
}

// bundleLocked is a pre-key bundle; it uses up a one-time key while there are some. Server.mu is held.
func (d *device) bundleLocked() []waBinary.Node {
	bundle := []waBinary.Node{
		{Tag: "registration", Content: d.regID},
		{Tag: "type", Content: []byte{5}},
		{Tag: "identity", Content: d.identity[:]},
		d.signed.node("skey"),
	}
	if k, ok := d.takePreKeyLocked(); ok {
		bundle = append(bundle, k.node("key"))
	}
	return bundle
}

func (d *device) takePreKeyLocked() (k preKey, ok bool) {
	if len(d.preKeys) == 0 {
		return k, false
	}
	k = d.preKeys[0]
	d.preKeys = d.preKeys[1:]
	d.preKeyNum--
	return k, true
}

// usync answers a query about users: every number is on WhatsApp, has a LID and, beside its phone, the devices that the
// simulator knows.
func (s *Server) usync(request waBinary.Node) waBinary.Node {
	var users []waBinary.Node
	list := request.GetChildByTag("list")
	for _, user := range list.GetChildrenByTag("user") {
		if answer, ok := s.usyncUser(user); ok {
			users = append(users, answer)
		}
	}
	answer := waBinary.Node{Tag: "usync", Attrs: waBinary.Attrs{}, Content: []waBinary.Node{
		{Tag: "result"},
		{Tag: "list", Content: users},
	}}
	for _, key := range []string{"sid", "index", "last", "mode", "context"} {
		answer.Attrs[key] = attrString(request, key)
	}
	return answer
}

func (s *Server) usyncUser(user waBinary.Node) (answer waBinary.Node, ok bool) {
	jid, isJID := user.Attrs["jid"].(types.JID)
	contact := string(childBytes(user, "contact"))
	number := ""
	switch {
	case isJID && jid.Server == types.DefaultUserServer:
		number = jid.User
	case isJID && jid.Server == types.HiddenUserServer:
		number = numberOf(jid.User)
	case contact != "":
		number, _ = parseNumber(contact)
		jid = types.NewJID(number, types.DefaultUserServer)
	}
	if !digitsOnly(number) {
		return answer, false
	}
	devices := []waBinary.Node{{Tag: "device", Attrs: waBinary.Attrs{"id": "0"}}}
	s.mu.Lock()
	for _, d := range s.devicesLocked(selector{number: number, index: -1}) {
		index := strconv.Itoa(int(d.index))
		devices = append(devices, waBinary.Node{Tag: "device", Attrs: waBinary.Attrs{"id": index, "key-index": index}})
	}
	s.mu.Unlock()
	return waBinary.Node{Tag: "user", Attrs: waBinary.Attrs{"jid": jid}, Content: []waBinary.Node{
		{Tag: "contact", Attrs: waBinary.Attrs{"type": "in"}, Content: []byte(contact)},
		{Tag: "lid", Attrs: waBinary.Attrs{"val": types.NewJID(lidOf(number), types.HiddenUserServer)}},
		{Tag: "devices", Content: []waBinary.Node{{Tag: "device-list", Content: devices}}},
	}}, true
}
