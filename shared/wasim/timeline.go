package wasim

import (
	"context"
	"sync"
	"time"
)

// Kind names what an Event records.
type Kind string

// The kinds of events. JID is set where the device is known, Conn where it happened on a connection.
const (
	EventHandshake    Kind = "handshake"     // Noise handshake complete
	EventRegistration Kind = "registration"  // an unpaired client got its QR refs
	EventLinkHello    Kind = "link-hello"    // a client asked for a pairing code; Detail is the number
	EventPaired       Kind = "paired"        // pair-device-sign verified: the device exists
	EventPairRejected Kind = "pair-rejected" // the client refused the pairing, or what it answered does not verify
	EventRefsExpired  Kind = "refs-expired"  // a registration ran out of QR refs
	EventLogin        Kind = "login"         // <success> sent
	EventActive       Kind = "active"        // the client left passive mode: whatsmeow is about to say Connected
	EventFailure      Kind = "failure"       // login refused; Detail is the reason number
	EventOverlap      Kind = "overlap"       // two live sockets of one device, see the package comment
	EventReplaced     Kind = "replaced"      // a socket was told that another took its place
	EventLogout       Kind = "logout"        // the phone removed the device
	EventUserLogout   Kind = "user-logout"   // the client removed its own device
	EventStreamError  Kind = "stream-error"  // forced by StreamError; Detail is the code
	EventMalformed    Kind = "malformed"     // sent by Malformed; Detail is its kind
	EventFault        Kind = "fault"         // a knob was turned; Detail says which
	EventPushName     Kind = "push-name"     // the client fetched the collection that holds its push name
	EventTaken        Kind = "taken"         // the client acknowledged a queued stanza; Detail is its id
	EventReceipt      Kind = "receipt"       // the client acknowledged a message; Detail is the receipt's type
	EventClosed       Kind = "closed"        // a connection ended; Detail says why
)

// Event is one entry of the timeline.
type Event struct {
	Seq    uint64    `json:"seq"` // from 1, without gaps
	Time   time.Time `json:"time"`
	Kind   Kind      `json:"kind"`
	Conn   uint64    `json:"conn,omitempty"` // ConnectionInfo.ID
	JID    string    `json:"jid,omitempty"`
	Detail string    `json:"detail,omitempty"`
}

// Stats counts since Start. The counters are exact and never reset, however few events the ring still holds.
type Stats struct {
	Handshakes    int `json:"handshakes"`
	Registrations int `json:"registrations"`
	Logins        int `json:"logins"`
	Open          int `json:"open"`   // websockets open now, at whatever stage
	Authed        int `json:"authed"` // logged-in sockets now
	// MaxSocketsPerDevice is the most sockets that were logged in at once for any one device, ever; 0 before the first
	// login. The package comment has the rule.
	MaxSocketsPerDevice int `json:"maxSocketsPerDevice"`

	Paired          int `json:"paired"`
	PairRejected    int `json:"pairRejected"`
	Failures        int `json:"failures"`
	Replaced        int `json:"replaced"`
	Overlaps        int `json:"overlaps"`
	Devices         int `json:"devices"`
	LateFrames      int `json:"lateFrames"`      // frames read from a socket after it had been told that it was replaced
	BadFrames       int `json:"badFrames"`       // frames that did not decipher or decode
	EventsForgotten int `json:"eventsForgotten"` // events that fell out of the ring
}

// timeline is the bounded ring of events and the exact counters.
type timeline struct {
	mu      sync.Mutex
	ring    []Event // in order; at most limit
	limit   int
	seq     uint64
	stats   Stats
	changed chan struct{} // closed at the next event; nil while nobody waits
}

// record appends an event and applies what it means for the counters.
func (t *timeline) record(e Event, count func(*Stats)) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.seq++
	e.Seq, e.Time = t.seq, time.Now()
	if len(t.ring) >= t.limit {
		// Dropping a quarter at once keeps appending cheap.
		drop := max(1, t.limit/4)
		t.ring = append(t.ring[:0], t.ring[drop:]...)
		t.stats.EventsForgotten += drop
	}
	t.ring = append(t.ring, e)
	if count != nil {
		count(&t.stats)
	}
	if t.changed != nil {
		close(t.changed)
		t.changed = nil
	}
}

// count changes counters without an event.
func (t *timeline) count(count func(*Stats)) {
	t.mu.Lock()
	count(&t.stats)
	t.mu.Unlock()
}

func (t *timeline) snapshot() Stats {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.stats
}

// since returns the retained events after seq and a channel that is closed when there are more.
func (t *timeline) since(seq uint64) (events []Event, more <-chan struct{}) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for i := range t.ring {
		if t.ring[i].Seq > seq {
			events = append(events, t.ring[i:]...)
			break
		}
	}
	if t.changed == nil {
		t.changed = make(chan struct{})
	}
	return events, t.changed
}

// wait returns the first event after seq that matches, past or future.
func (t *timeline) wait(ctx context.Context, seq uint64, match func(Event) bool) (Event, error) {
	for {
		events, more := t.since(seq)
		for _, e := range events {
			if match(e) {
				return e, nil
			}
			seq = e.Seq
		}
		select {
		case <-more:
		case <-ctx.Done():
			return Event{}, context.Cause(ctx)
		}
	}
}

// Stats returns the counters.
func (s *Server) Stats() Stats {
	stats := s.timeline.snapshot()
	s.mu.Lock()
	defer s.mu.Unlock()
	stats.Open = len(s.conns)
	for _, d := range s.devices {
		stats.Authed += len(d.sockets)
	}
	stats.Devices = len(s.devices)
	return stats
}

// Events returns the events that the ring still holds, oldest first.
func (s *Server) Events() []Event {
	return s.EventsSince(0)
}

// EventsSince returns the retained events with a Seq above seq.
func (s *Server) EventsSince(seq uint64) []Event {
	events, _ := s.timeline.since(seq)
	return events
}

// LastSeq returns the Seq of the newest event, 0 before the first.
func (s *Server) LastSeq() uint64 {
	s.timeline.mu.Lock()
	defer s.timeline.mu.Unlock()
	return s.timeline.seq
}

// WaitEvent returns the first event that matches, whether it is already in the ring or still to come. Compare Seq with
// an earlier LastSeq, or use WaitEventSince, to ignore the past.
func (s *Server) WaitEvent(ctx context.Context, match func(Event) bool) (Event, error) {
	return s.WaitEventSince(ctx, 0, match)
}

// WaitEventSince is WaitEvent for events with a Seq above seq.
func (s *Server) WaitEventSince(ctx context.Context, seq uint64, match func(Event) bool) (Event, error) {
	return s.timeline.wait(ctx, seq, match)
}
