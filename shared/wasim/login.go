package wasim

import (
	"context"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	waBinary "go.mau.fi/whatsmeow/binary"
	"go.mau.fi/whatsmeow/proto/waWa6"
)

// Reasons of a <failure>, as whatsmeow names them.
const (
	ReasonLoggedOut      = 401
	ReasonTempBanned     = 402
	ReasonMainDeviceGone = 403
	ReasonClientOutdated = 405
	ReasonUnknownLogout  = 406
	ReasonServerError    = 500
	ReasonUnavailable    = 503
)

// login admits a paired device or refuses it with a <failure>.
func (s *Server) login(c *conn, static [32]byte, payload *waWa6.ClientPayload) {
	s.mu.Lock()
	d := s.devices[static]
	if d != nil && (strconv.FormatUint(payload.GetUsername(), 10) != d.number || payload.GetDevice() != uint32(d.index)) {
		d = nil // the key belongs to another device than the client believes
	}
	if node, reason := s.refusalLocked(d, payload); reason != 0 {
		s.mu.Unlock()
		s.fail(c, d, node, reason)
		return
	}
	older := slices.Clone(d.sockets)
	d.sockets = append(d.sockets, c)
	d.lastLogin = time.Now()
	d.logins++
	d.maxLive = max(d.maxLive, 1)
	c.dev, c.phase = d, phaseAuthed
	malformed := s.takePoisonLocked(d)
	s.mu.Unlock()

	s.record(Event{Kind: EventLogin, Conn: c.id, JID: d.jid().String()}, func(st *Stats) {
		st.Logins++
		st.MaxSocketsPerDevice = max(st.MaxSocketsPerDevice, 1)
	})
	c.push(waBinary.Node{Tag: "success", Attrs: waBinary.Attrs{
		"t": unixNow(), "lid": d.lid(), "location": "sim", "props": "27", "creation": strconv.FormatInt(d.paired.Unix(), 10),
	}})
	c.pushMalformed(malformed)
	if len(older) > 0 {
		s.spawn(func() { s.judge(c, older) })
	}
}

// refusalLocked decides whether a login fails; reason 0 is success. Server.mu is held.
func (s *Server) refusalLocked(d *device, payload *waWa6.ClientPayload) (node waBinary.Node, reason int) {
	if s.outdatedLocked(payload) {
		return failure(ReasonClientOutdated), ReasonClientOutdated
	}
	if f := s.takeFailureLocked(d); f != nil {
		return f.node(), f.Reason
	}
	if d == nil {
		return failure(ReasonLoggedOut), ReasonLoggedOut
	}
	return node, 0
}

func (s *Server) fail(c *conn, d *device, node waBinary.Node, reason int) {
	jid := ""
	if d != nil {
		jid = d.jid().String()
	}
	why := "failure " + strconv.Itoa(reason)
	s.record(Event{Kind: EventFailure, Conn: c.id, JID: jid, Detail: strconv.Itoa(reason)}, func(st *Stats) { st.Failures++ })
	c.pushFinal(node, why)
}

func failure(reason int) waBinary.Node {
	return waBinary.Node{Tag: "failure", Attrs: waBinary.Attrs{"reason": strconv.Itoa(reason), "location": "sim"}}
}

// judge decides which of the older sockets were alive beside the newer one, by the rule in the package comment, and
// replaces them all.
func (s *Server) judge(newer *conn, older []*conn) {
	if !sleepUntil(s.ctx, time.Now().Add(s.OverlapGrace)) {
		return
	}
	var proven atomic.Int64
	var probes sync.WaitGroup
	for _, c := range older {
		if s.probeable(c) {
			probes.Go(func() {
				if c.answers(s.OverlapGrace) {
					proven.Add(1)
				}
			})
		}
	}
	probes.Wait()
	if n := int(proven.Load()); n > 0 {
		s.overlapped(newer, n+1)
	}
	for _, c := range older {
		s.replace(c)
	}
}

// probeable reports whether c still counts: open, and neither ending nor silenced by the simulator.
func (s *Server) probeable(c *conn) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return c.phase == phaseAuthed && c.ctx.Err() == nil && c.gate.mode() == SilenceOff
}

// answers pings the client and reports whether it answered in time.
func (c *conn) answers(within time.Duration) bool {
	ctx, cancel := context.WithTimeout(c.ctx, within)
	defer cancel()
	return c.ws.Ping(ctx) == nil
}

func (s *Server) overlapped(newer *conn, live int) {
	s.mu.Lock()
	d := newer.dev
	d.maxLive = max(d.maxLive, live)
	s.mu.Unlock()
	s.record(Event{Kind: EventOverlap, Conn: newer.id, JID: d.jid().String(), Detail: strconv.Itoa(live)}, func(st *Stats) {
		st.Overlaps++
		st.MaxSocketsPerDevice = max(st.MaxSocketsPerDevice, live)
	})
}

// replace tells a logged-in socket that another has taken its place, and closes it. It reports whether it was one.
func (s *Server) replace(c *conn) bool {
	s.mu.Lock()
	if c.phase != phaseAuthed || c.ctx.Err() != nil {
		s.mu.Unlock()
		return false
	}
	c.replaced = true
	c.finalLocked("replaced")
	jid := c.dev.jid().String()
	s.mu.Unlock()
	s.record(Event{Kind: EventReplaced, Conn: c.id, JID: jid}, func(st *Stats) { st.Replaced++ })
	c.pushFinal(waBinary.Node{
		Tag:     "stream:error",
		Content: []waBinary.Node{{Tag: "conflict", Attrs: waBinary.Attrs{"type": "replaced"}}},
	}, "replaced")
	return true
}

func unixNow() string { return strconv.FormatInt(time.Now().Unix(), 10) }
