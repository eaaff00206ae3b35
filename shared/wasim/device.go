package wasim

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	waBinary "go.mau.fi/whatsmeow/binary"
	"go.mau.fi/whatsmeow/types"
)

// Errors of the calls that name a device or a number.
var (
	ErrBadNumber     = errors.New("not a phone number (7 to 15 digits)")
	ErrBadJID        = errors.New("not a number, a JID or a device JID")
	ErrUnknownDevice = errors.New("no such device")
)

// maxDevice is the highest device number: the wire has one byte for it.
const maxDevice = 255

// heldPreKeys is how many uploaded one-time pre-keys are kept to be handed out; the rest is only counted.
const heldPreKeys = 8

// device is a paired companion. Its fields are guarded by Server.mu, except those set once at pairing.
type device struct {
	number   string // set once
	index    uint16 // set once; the N of NUMBER:N@s.whatsapp.net
	noise    [32]byte
	identity [32]byte
	regID    []byte // 4 bytes, big endian
	signed   preKey
	paired   time.Time
	platform string

	preKeys   []preKey // at most heldPreKeys
	preKeyNum int      // how many the server pretends to hold
	lastLogin time.Time
	logins    int
	maxLive   int       // most sockets logged in at once, by the rule of the package comment
	sockets   []*conn   // logged in now, oldest first
	queue     []*queued // stanzas the device has not acknowledged, oldest first
	removed   bool      // no longer linked
	sharing   string    // id of the queued message with the app state key, "" if none was made
	shared    bool      // the device has acknowledged it
}

// preKey is a public pre-key; signature is empty for one-time keys.
type preKey struct {
	id        []byte // 3 bytes
	value     []byte // 32 bytes
	signature []byte
}

// queued is a stanza that is sent again at every login until it is acknowledged.
type queued struct {
	id   string
	node waBinary.Node
}

func (d *device) jid() types.JID {
	return types.JID{User: d.number, Device: d.index, Server: types.DefaultUserServer}
}

func (d *device) lid() types.JID {
	return types.JID{User: lidOf(d.number), Device: d.index, Server: types.HiddenUserServer}
}

// acked forgets a queued stanza and reports whether there was one.
func (d *device) acked(id string) bool {
	before := len(d.queue)
	d.queue = slices.DeleteFunc(d.queue, func(q *queued) bool { return q.id == id })
	return len(d.queue) != before
}

// DeviceInfo describes a paired device.
type DeviceInfo struct {
	JID        string    `json:"jid"`
	LID        string    `json:"lid"`
	Number     string    `json:"number"`
	Platform   string    `json:"platform,omitempty"` // DeviceProps.Os as the client gave it
	Paired     time.Time `json:"paired"`
	LastLogin  time.Time `json:"lastLogin,omitzero"`
	Logins     int       `json:"logins"`     // since Start
	Sockets    int       `json:"sockets"`    // logged in now
	MaxSockets int       `json:"maxSockets"` // most at once since Start
	PreKeys    int       `json:"preKeys"`
	Queued     int       `json:"queued"` // stanzas not acknowledged yet
}

// Devices lists the paired devices, ordered by JID.
func (s *Server) Devices() []DeviceInfo {
	s.mu.Lock()
	defer s.mu.Unlock()
	list := make([]DeviceInfo, 0, len(s.devices))
	for _, d := range s.devices {
		list = append(list, DeviceInfo{
			JID: d.jid().String(), LID: d.lid().String(), Number: d.number, Platform: d.platform,
			Paired: d.paired, LastLogin: d.lastLogin, Logins: d.logins, Sockets: len(d.sockets),
			MaxSockets: d.maxLive, PreKeys: d.preKeyNum, Queued: len(d.queue),
		})
	}
	slices.SortFunc(list, func(a, b DeviceInfo) int { return strings.Compare(a.JID, b.JID) })
	return list
}

// selector picks devices: all, those of a number, or one.
type selector struct {
	number string // "" is all
	index  int    // -1 is every device of the number
}

// parseSelector accepts "", a bare number, NUMBER@s.whatsapp.net, NUMBER@c.us, NUMBER:N@s.whatsapp.net and the LID
// forms. A leading + is ignored.
func parseSelector(jid string) (selector, error) {
	all := selector{index: -1}
	jid = strings.TrimPrefix(strings.TrimSpace(jid), "+")
	if jid == "" {
		return all, nil
	}
	if digitsOnly(jid) {
		return selector{number: jid, index: -1}, nil
	}
	parsed, err := types.ParseJID(jid)
	if err != nil {
		return all, fmt.Errorf("%w: %q", ErrBadJID, jid)
	}
	number := parsed.User
	switch parsed.Server {
	case types.DefaultUserServer, types.LegacyUserServer:
	case types.HiddenUserServer:
		number = numberOf(parsed.User)
	default:
		number = ""
	}
	if !digitsOnly(number) {
		return all, fmt.Errorf("%w: %q", ErrBadJID, jid)
	}
	if parsed.Device == 0 {
		return selector{number: number, index: -1}, nil
	}
	return selector{number: number, index: int(parsed.Device)}, nil
}

func (sel selector) all() bool { return sel.number == "" }

func (sel selector) matches(d *device) bool {
	if sel.all() {
		return true
	}
	return d != nil && d.number == sel.number && (sel.index < 0 || int(d.index) == sel.index)
}

// parseNumber strips what people write around a phone number.
func parseNumber(number string) (string, error) {
	stripped := strings.NewReplacer("+", "", " ", "", "-", "", "(", "", ")", "").Replace(number)
	stripped, _, _ = strings.Cut(stripped, "@")
	if !digitsOnly(stripped) || len(stripped) < 7 || len(stripped) > 15 {
		return "", fmt.Errorf("%w: %q", ErrBadNumber, number)
	}
	return stripped, nil
}

// devicesLocked returns the devices that a selector picks. Server.mu is held.
func (s *Server) devicesLocked(sel selector) []*device {
	var picked []*device
	for _, d := range s.devices {
		if sel.matches(d) {
			picked = append(picked, d)
		}
	}
	slices.SortFunc(picked, func(a, b *device) int { return strings.Compare(a.jid().String(), b.jid().String()) })
	return picked
}

// nextIndexLocked is the device number for the next companion of a number: numbers grow and are reused only after
// maxDevice, as at WhatsApp, because a client keeps stale keys under a reused one. Server.mu is held.
func (s *Server) nextIndexLocked(number string) (uint16, error) {
	taken := make(map[uint16]bool)
	for _, d := range s.devices {
		if d.number == number {
			taken[d.index] = true
		}
	}
	last := s.lastIndex[number]
	for range maxDevice {
		if last++; last > maxDevice {
			last = 1
		}
		if !taken[last] {
			s.lastIndex[number] = last
			return last, nil
		}
	}
	return 0, fmt.Errorf("%s has %d devices already", number, maxDevice)
}
