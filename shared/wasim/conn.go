package wasim

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"sync/atomic"
	"time"

	"github.com/coder/websocket"
	waBinary "go.mau.fi/whatsmeow/binary"
	"go.mau.fi/whatsmeow/util/keys"

	"go.mau.fi/whatsmeow/proto/waWa6"
	"go.mau.fi/whatsmeow/socket"
)

// handshakeTimeout bounds the wait for a client's half of the handshake. whatsmeow waits 20 s for the server's half.
const handshakeTimeout = 20 * time.Second

// phase is how far a connection has come.
type phase string

const (
	phaseHandshake   phase = "handshake"
	phaseRegistering phase = "registering"
	phaseAuthed      phase = "authed"
	phaseEnding      phase = "ending" // the last stanza is queued; whatever still comes in is discarded
)

// conn is one websocket. Its reader is the goroutine of run, its writer that of writeLoop.
type conn struct {
	srv    *Server
	id     uint64
	ws     *websocket.Conn
	sock   net.Conn // the TLS connection below
	remote string
	opened time.Time
	ctx    context.Context
	cancel context.CancelCauseFunc
	frames frameReader
	recv   *counterAEAD // the reader's
	send   *counterAEAD // the writer's
	out    *outbox
	gate   gate

	framesIn, framesOut atomic.Int64
	ids                 atomic.Int64 // of the stanzas that the server starts
	heard               atomic.Int64 // when the newest frame was read, Unix ns
	shortPatch          atomic.Bool  // app state is answered with malformedPatch

	// Guarded by srv.mu.
	phase    phase
	dev      *device       // logged in as
	reg      *registration // while registering
	replaced bool          // was told so
	why      string        // the first reason to end
}

func newConn(s *Server, ws *websocket.Conn, sock net.Conn, remote string) *conn {
	c := &conn{
		srv: s, id: s.lastConn.Add(1), ws: ws, sock: sock, remote: remote,
		opened: time.Now(), out: newOutbox(), phase: phaseHandshake,
	}
	c.ctx, c.cancel = context.WithCancelCause(s.ctx)
	c.frames.next = c.message
	return c
}

func (s *Server) addConn(c *conn) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return false
	}
	s.conns[c] = struct{}{}
	return true
}

// removeConn forgets an ended connection.
func (s *Server) removeConn(c *conn) {
	_ = c.ws.CloseNow()
	s.mu.Lock()
	delete(s.conns, c)
	jid := ""
	if c.dev != nil {
		jid = c.dev.jid().String()
		c.dev.sockets = slices.DeleteFunc(c.dev.sockets, func(o *conn) bool { return o == c })
	}
	s.endRegistrationLocked(c)
	why := c.why
	s.mu.Unlock()
	if why == "" {
		why = "client: " + context.Cause(c.ctx).Error()
	}
	s.record(Event{Kind: EventClosed, Conn: c.id, JID: jid, Detail: why}, nil)
}

// record adds to the timeline and the log.
func (s *Server) record(e Event, count func(*Stats)) {
	s.timeline.record(e, count)
	s.Logger.Debug("wasim event", "kind", string(e.Kind), "conn", e.Conn, "jid", e.JID, "detail", e.Detail)
}

// run is the connection's life; it returns why it ended.
func (c *conn) run() error {
	payload, static, err := c.shakeHands()
	if err != nil {
		return err
	}
	c.srv.record(Event{Kind: EventHandshake, Conn: c.id}, func(st *Stats) { st.Handshakes++ })
	if !c.srv.spawn(c.writeLoop) {
		return ErrClosed
	}
	if payload.Username == nil {
		c.srv.register(c, static, payload)
	} else {
		c.srv.login(c, static, payload)
	}
	return c.readLoop()
}

// shakeHands is the responder's side of Noise XX.
func (c *conn) shakeHands() (payload *waWa6.ClientPayload, static [32]byte, err error) {
	deadline := time.AfterFunc(handshakeTimeout, func() { c.cancel(errors.New("handshake timed out")) })
	defer deadline.Stop()
	head, err := c.frames.take(len(socket.WAConnHeader))
	if err != nil {
		return nil, static, err
	} else if string(head[:2]) != "WA" {
		return nil, static, fmt.Errorf("bad connection header %x", head)
	}
	h, err := newHandshake(head)
	if err != nil {
		return nil, static, err
	}
	first, err := c.frames.frame()
	if err != nil {
		return nil, static, err
	}
	ephemeral := keys.NewKeyPair()
	answer, _, err := h.hello(c.srv.noise, ephemeral, first)
	if err != nil {
		return nil, static, err
	}
	if slow := c.srv.slow.Load() + c.srv.latency.Load(); slow > 0 {
		deadline.Reset(handshakeTimeout + time.Duration(slow))
		if !sleepUntil(c.ctx, time.Now().Add(time.Duration(slow))) {
			return nil, static, context.Cause(c.ctx)
		}
	}
	if err := c.ws.Write(c.ctx, websocket.MessageBinary, framed(answer)); err != nil {
		return nil, static, err
	}
	second, err := c.frames.frame()
	if err != nil {
		return nil, static, err
	}
	static, payload, err = h.finish(ephemeral, second)
	if err != nil {
		return nil, static, err
	}
	c.recv, c.send, err = h.split()
	return payload, static, err
}

// message returns the next websocket message.
func (c *conn) message() ([]byte, error) {
	for {
		kind, data, err := c.ws.Read(c.ctx)
		if err != nil {
			return nil, err
		}
		c.heard.Store(time.Now().UnixNano())
		if kind == websocket.MessageBinary {
			return data, nil
		}
	}
}

// readLoop handles frames in order until the connection ends.
func (c *conn) readLoop() error {
	for {
		data, err := c.frames.frame()
		if err != nil {
			return err
		}
		c.framesIn.Add(1)
		plain, err := c.recv.open(data)
		if err != nil {
			c.srv.timeline.count(func(st *Stats) { st.BadFrames++ })
			return fmt.Errorf("decipher frame: %w", err)
		}
		mode, err := c.gate.pass(c.ctx)
		if err != nil {
			return err
		}
		if mode != SilenceOff || c.discards() {
			continue
		}
		node, err := decodeNode(plain)
		if err != nil {
			c.srv.timeline.count(func(st *Stats) { st.BadFrames++ })
			c.srv.Logger.Debug("bad frame", "conn", c.id, "err", err)
			continue
		}
		c.handle(node)
	}
}

// discards reports whether what comes in is no longer handled, and counts what comes after "replaced".
func (c *conn) discards() bool {
	c.srv.mu.Lock()
	ending, replaced := c.phase == phaseEnding, c.replaced
	c.srv.mu.Unlock()
	if replaced {
		c.srv.timeline.count(func(st *Stats) { st.LateFrames++ })
	}
	return ending
}

// push queues a stanza for the client.
func (c *conn) push(node waBinary.Node) {
	c.put(outItem{due: c.srv.due(), node: node})
}

// pushFinal queues a last stanza and the end of the connection FinalDelay after it is written. Nothing that the client
// sends from now on is handled.
func (c *conn) pushFinal(node waBinary.Node, why string) {
	c.srv.mu.Lock()
	c.finalLocked(why)
	c.srv.mu.Unlock()
	c.push(node)
	c.put(outItem{pause: c.srv.FinalDelay, end: DropClose, why: why})
}

func (c *conn) finalLocked(why string) {
	c.phase = phaseEnding
	if c.why == "" {
		c.why = why
	}
}

func (c *conn) put(item outItem) {
	if !c.out.put(item) {
		c.srv.spawn(func() { c.shut(DropRST, "outbound queue full") })
	}
}

// due is when something queued now may leave.
func (s *Server) due() time.Time {
	return time.Now().Add(time.Duration(s.latency.Load()))
}

// writeLoop writes the queue until the connection ends.
func (c *conn) writeLoop() {
	for {
		item, ok := c.out.take(c.ctx)
		if !ok {
			return
		}
		if item.end != "" {
			c.shut(item.end, item.why)
			return
		}
		if c.gate.mode() != SilenceOff {
			continue
		}
		plain, err := item.plain()
		if err != nil {
			c.srv.Logger.Error("wasim made a stanza that does not encode", "err", err)
			continue
		}
		c.framesOut.Add(1)
		if err := c.ws.Write(c.ctx, websocket.MessageBinary, sealFrame(c.send, plain)); err != nil {
			c.cancel(err)
			return
		}
	}
}

// ConnectionInfo describes an open websocket.
type ConnectionInfo struct {
	ID        uint64      `json:"id"`
	Remote    string      `json:"remote"`
	Phase     string      `json:"phase"` // handshake, registering, authed, ending
	JID       string      `json:"jid,omitempty"`
	Opened    time.Time   `json:"opened"`
	LastFrame time.Time   `json:"lastFrame,omitzero"`
	FramesIn  int64       `json:"framesIn"`
	FramesOut int64       `json:"framesOut"`
	Silence   SilenceMode `json:"silence,omitempty"`
	Replaced  bool        `json:"replaced,omitempty"`
	LinkFor   string      `json:"linkFor,omitempty"` // the number that a registering client asked a pairing code for
}

// Connections lists the open websockets, oldest first.
func (s *Server) Connections() []ConnectionInfo {
	s.mu.Lock()
	defer s.mu.Unlock()
	list := make([]ConnectionInfo, 0, len(s.conns))
	for c := range s.conns {
		info := ConnectionInfo{
			ID: c.id, Remote: c.remote, Phase: string(c.phase), Opened: c.opened, FramesIn: c.framesIn.Load(),
			FramesOut: c.framesOut.Load(), Silence: c.gate.mode(), Replaced: c.replaced,
		}
		if ns := c.heard.Load(); ns != 0 {
			info.LastFrame = time.Unix(0, ns)
		}
		if c.dev != nil {
			info.JID = c.dev.jid().String()
		}
		if c.reg != nil && c.reg.hello != nil {
			info.LinkFor = c.reg.hello.number
		}
		list = append(list, info)
	}
	slices.SortFunc(list, func(a, b ConnectionInfo) int {
		return cmp.Compare(a.ID, b.ID)
	})
	return list
}
