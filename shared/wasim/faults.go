package wasim

import (
	"errors"
	"fmt"
	"net"
	"net/http"
	"slices"
	"strconv"
	"time"

	waBinary "go.mau.fi/whatsmeow/binary"
)

// ErrBadMode is returned for a mode that does not exist.
var ErrBadMode = errors.New("no such mode")

// forcedFailure makes logins fail.
type forcedFailure struct {
	sel selector
	FailOptions
}

// FailOptions describes a forced login failure.
type FailOptions struct {
	Reason int // of the <failure>; any number
	Count  int // logins that fail; 1 if 0, until further notice if negative
	Code   int // of a temporary ban (402), 101 to 106 are known; 101 if 0
	// Expire is the rest of a temporary ban; 1 h if 0. Seconds on the wire.
	Expire  time.Duration
	Message string
}

func (f *forcedFailure) node() waBinary.Node {
	node := failure(f.Reason)
	if f.Reason == ReasonTempBanned {
		node.Attrs["code"] = strconv.Itoa(f.Code)
		node.Attrs["expire"] = strconv.Itoa(int(f.Expire.Seconds()))
	}
	if f.Message != "" {
		node.Attrs["message"] = f.Message
	}
	return node
}

// FailLogin makes the next count logins of a device (a number: of all its devices; "": of anybody) fail for that
// reason. Reason 0 takes back what was forced for the same jid. A negative count lasts until then.
func (s *Server) FailLogin(jid string, reason, count int) error {
	return s.FailLoginWith(jid, FailOptions{Reason: reason, Count: count})
}

// FailLoginWith is FailLogin with everything that a <failure> can say.
func (s *Server) FailLoginWith(jid string, o FailOptions) error {
	sel, err := parseSelector(jid)
	if err != nil {
		return err
	}
	if o.Reason < 0 || o.Reason > 9999 {
		return fmt.Errorf("failure reason %d is out of range", o.Reason)
	}
	if o.Count == 0 {
		o.Count = 1
	}
	if o.Code == 0 {
		o.Code = 101
	}
	if o.Expire <= 0 {
		o.Expire = time.Hour
	}
	s.mu.Lock()
	s.fails = slices.DeleteFunc(s.fails, func(f *forcedFailure) bool { return f.sel == sel })
	if o.Reason != 0 {
		s.fails = append(s.fails, &forcedFailure{sel, o})
	}
	s.mu.Unlock()
	s.record(Event{Kind: EventFault, JID: jid, Detail: fmt.Sprintf("fail-login %d x %d", o.Reason, o.Count)}, nil)
	return nil
}

// takeFailureLocked uses up one forced failure for a login of d, which is nil for an unknown device. Server.mu is held.
func (s *Server) takeFailureLocked(d *device) *forcedFailure {
	i := slices.IndexFunc(s.fails, func(f *forcedFailure) bool { return f.sel.matches(d) })
	if i < 0 {
		return nil
	}
	f := s.fails[i]
	if f.Count > 0 {
		if f.Count--; f.Count == 0 {
			s.fails = slices.Delete(s.fails, i, i+1)
		}
	}
	return f
}

// selected returns the open connections of the devices that jid names; all connections, registering ones included, if
// it is empty.
func (s *Server) selected(jid string) ([]*conn, error) {
	sel, err := parseSelector(jid)
	if err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	var list []*conn
	for c := range s.conns {
		if sel.matches(c.dev) {
			list = append(list, c)
		}
	}
	return list, nil
}

// Drop ends connections and returns how many. jid may be empty: all, registering ones included.
func (s *Server) Drop(jid string, mode DropMode) (int, error) {
	if mode == "" {
		mode = DropFin
	}
	if mode != DropFin && mode != DropRST && mode != DropClose {
		return 0, fmt.Errorf("%w: %q; use fin, rst or close", ErrBadMode, mode)
	}
	list, err := s.selected(jid)
	if err != nil {
		return 0, err
	}
	for _, c := range list {
		s.spawn(func() { c.shut(mode, "dropped: "+string(mode)) })
	}
	s.record(Event{Kind: EventFault, JID: jid, Detail: "drop " + string(mode)}, nil)
	return len(list), nil
}

// Silent silences connections that are open now, or with SilenceOff lets them speak again, and returns how many. What
// was read or due in a silence is lost. New connections are not silent.
func (s *Server) Silent(jid string, mode SilenceMode) (int, error) {
	if mode == "off" {
		mode = SilenceOff
	}
	if mode != SilenceOff && mode != SilenceMute && mode != SilenceFreeze {
		return 0, fmt.Errorf("%w: %q; use mute, freeze or off", ErrBadMode, mode)
	}
	list, err := s.selected(jid)
	if err != nil {
		return 0, err
	}
	for _, c := range list {
		c.gate.set(mode)
	}
	s.record(Event{Kind: EventFault, JID: jid, Detail: "silent " + string(mode)}, nil)
	return len(list), nil
}

// StreamError sends <stream:error code=...> and closes after FinalDelay; it returns to how many connections. whatsmeow
// knows 503 and 515; an empty code is 503.
func (s *Server) StreamError(jid, code string) (int, error) {
	if code == "" {
		code = "503"
	}
	list, err := s.selected(jid)
	if err != nil {
		return 0, err
	}
	for _, c := range list {
		s.record(Event{Kind: EventStreamError, Conn: c.id, JID: jid, Detail: code}, nil)
		c.pushFinal(waBinary.Node{Tag: "stream:error", Attrs: waBinary.Attrs{"code": code}}, "stream:error "+code)
	}
	return len(list), nil
}

// ConnectAs logs a second owner in as a device: every logged-in socket of it gets stream:error conflict replaced at
// once. The owner is simulated, takes no socket and is gone again when the device next logs in.
func (s *Server) ConnectAs(jid string) (int, error) {
	sel, err := parseSelector(jid)
	if err != nil {
		return 0, err
	}
	s.mu.Lock()
	picked := s.devicesLocked(sel)
	var sockets []*conn
	for _, d := range picked {
		sockets = append(sockets, d.sockets...)
	}
	s.mu.Unlock()
	if sel.all() || len(picked) == 0 {
		return 0, fmt.Errorf("%w: %q", ErrUnknownDevice, jid)
	}
	n := 0
	for _, c := range sockets {
		if s.replace(c) {
			n++
		}
	}
	return n, nil
}

// SetLatency delays everything the server sends by frames, and its half of the handshake by handshake more.
func (s *Server) SetLatency(frames, handshake time.Duration) {
	s.latency.Store(int64(max(frames, 0)))
	s.slow.Store(int64(max(handshake, 0)))
	s.record(Event{Kind: EventFault, Detail: fmt.Sprintf("latency %v, handshake %v", frames, handshake)}, nil)
}

// RefuseMode is a way not to take new connections.
type RefuseMode string

const (
	RefuseOff   RefuseMode = ""      // takes them
	RefuseClose RefuseMode = "close" // TCP connections are closed as soon as they are accepted
	RefuseHang  RefuseMode = "hang"  // the websocket upgrade is read and never answered
	RefuseHTTP  RefuseMode = "http"  // the websocket upgrade is answered 503
)

// refusal is the refuse knob.
type refusal struct {
	mode   RefuseMode
	left   int           // connections still to refuse; negative is no end
	lifted chan struct{} // closed when the mode changes; hanging upgrades then end
}

// Refuse refuses new connections in the given way: count of them, or all until further notice if count is 0. Open
// connections stay. RefuseOff ends it, and lets hanging upgrades fail.
func (s *Server) Refuse(mode RefuseMode, count int) error {
	if mode == "off" {
		mode = RefuseOff
	}
	if mode != RefuseOff && mode != RefuseClose && mode != RefuseHang && mode != RefuseHTTP {
		return fmt.Errorf("%w: %q; use close, hang, http or off", ErrBadMode, mode)
	}
	if count <= 0 {
		count = -1
	}
	s.mu.Lock()
	if s.refusal.lifted != nil {
		close(s.refusal.lifted)
	}
	s.refusal = refusal{mode: mode, left: count, lifted: make(chan struct{})}
	s.mu.Unlock()
	s.record(Event{Kind: EventFault, Detail: "refuse " + string(mode)}, nil)
	return nil
}

// refuses reports whether a connection at that stage is refused, and uses up one.
func (s *Server) refuses(stages ...RefuseMode) (mode RefuseMode, lifted <-chan struct{}) {
	s.mu.Lock()
	defer s.mu.Unlock()
	r := &s.refusal
	if r.left == 0 || !slices.Contains(stages, r.mode) {
		return RefuseOff, nil
	}
	if r.left > 0 {
		r.left--
	}
	return r.mode, r.lifted
}

// admit answers for a refused upgrade and reports whether to go on.
func (s *Server) admit(w http.ResponseWriter, r *http.Request) bool {
	mode, lifted := s.refuses(RefuseHang, RefuseHTTP)
	switch mode {
	case RefuseHang:
		select {
		case <-lifted:
		case <-r.Context().Done():
		case <-s.ctx.Done():
		}
		panic(http.ErrAbortHandler) // closes the connection without an answer; net/http recovers it silently
	case RefuseHTTP:
		http.Error(w, "refused", http.StatusServiceUnavailable)
		return false
	}
	return true
}

// refusingListener closes connections at accept while Refuse says so.
type refusingListener struct {
	net.Listener
	srv *Server
}

func (l refusingListener) Accept() (net.Conn, error) {
	for {
		c, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		if mode, _ := l.srv.refuses(RefuseClose); mode == RefuseOff {
			return c, nil
		}
		_ = c.Close()
	}
}
