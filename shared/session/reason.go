package session

import (
	"fmt"
	"strings"
	"time"
)

// ReasonCode is a stable, documented word for why a session is in its state.
type ReasonCode string

const (
	QRExpired       ReasonCode = "QR_EXPIRED"
	PairError       ReasonCode = "PAIR_ERROR"
	PasskeyRequired ReasonCode = "PASSKEY_REQUIRED"
	Reconnecting    ReasonCode = "RECONNECTING"
	KeepAlive       ReasonCode = "KEEPALIVE"
	StreamReplaced  ReasonCode = "STREAM_REPLACED"
	LoggedOut       ReasonCode = "LOGGED_OUT"
	TempBan         ReasonCode = "TEMP_BAN"
	ClientOutdated  ReasonCode = "CLIENT_OUTDATED"
	ConnectTimeout  ReasonCode = "CONNECT_TIMEOUT"
	Unreachable     ReasonCode = "WHATSAPP_UNREACHABLE"
	NoCapacity      ReasonCode = "NO_CAPACITY"
	Quarantined     ReasonCode = "QUARANTINED"
	StoreError      ReasonCode = "STORE_ERROR"
	ProxyError      ReasonCode = "PROXY_ERROR"
	InternalError   ReasonCode = "INTERNAL_ERROR"

	SecretsUnreadable ReasonCode = "SECRETS_UNREADABLE" // #nosec G101 -- a word that callers see, no secret

	connectFailurePrefix = "CONNECT_FAILURE_"
	streamErrorPrefix    = "STREAM_ERROR_"
)

// ConnectFailure is the code for a login that WhatsApp refused with a number
// that has no word of its own.
func ConnectFailure(code int) ReasonCode {
	return ReasonCode(fmt.Sprintf("%s%d", connectFailurePrefix, code))
}

// IsConnectFailure reports whether the code is one of ConnectFailure's.
func (c ReasonCode) IsConnectFailure() bool {
	return strings.HasPrefix(string(c), connectFailurePrefix)
}

// StreamError is the code for a stream error that has no word of its own. The
// far side chooses the code, so it is cut to what fits a code.
func StreamError(code string) ReasonCode {
	clean := strings.Map(func(r rune) rune {
		if r >= '0' && r <= '9' || r >= 'A' && r <= 'Z' || r >= 'a' && r <= 'z' {
			return r
		}
		return -1
	}, code)
	if len(clean) > 16 {
		clean = clean[:16]
	}
	if clean == "" {
		clean = "UNKNOWN"
	}
	return ReasonCode(streamErrorPrefix + clean)
}

// Family is the code without a number of WhatsApp's in it, for counting: the far
// side chooses the number.
func Family(code ReasonCode) ReasonCode {
	for _, prefix := range []string{connectFailurePrefix, streamErrorPrefix} {
		if strings.HasPrefix(string(code), prefix) {
			return ReasonCode(strings.TrimSuffix(prefix, "_"))
		}
	}
	return code
}

// Class says who has to act on a reason.
type Class string

const (
	Transient Class = "transient"  // wafleet is at it, nothing to do
	NeedsUser Class = "needs user" // start the session again, or link it again
	Terminal  Class = "terminal"   // only an operator or WhatsApp can help
)

// Meaning is the documentation of a reason code.
type Meaning struct {
	Class    Class
	Sentence string
}

var meanings = map[ReasonCode]Meaning{
	QRExpired:       {NeedsUser, "The QR codes ran out before a phone scanned one. Start the session again for new codes."},
	PairError:       {NeedsUser, "The phone and WhatsApp could not agree on the new device. Start the session and link it again."},
	PasskeyRequired: {NeedsUser, "WhatsApp asks for a passkey to link this device. Confirm it on the phone, or link with an account that has none."},
	Reconnecting:    {Transient, "The connection to WhatsApp was lost. wafleet is connecting again."},
	KeepAlive:       {Transient, "WhatsApp stopped answering on an open connection. wafleet is connecting again."},
	StreamReplaced:  {NeedsUser, "Another program logged in as this device. Stop that program, then start the session again."},
	LoggedOut:       {NeedsUser, "The device was unlinked, from the phone or by WhatsApp. Start the session and link it again."},
	TempBan:         {Terminal, "WhatsApp banned this account for a while. The session starts again by itself when the ban ends."},
	ClientOutdated:  {Terminal, "WhatsApp refused this client version, also after it was refreshed. Update wafleet or set WHATSAPP_VERSION."},
	ConnectTimeout:  {Transient, "WhatsApp accepted the connection but did not finish the login in time. wafleet is connecting again."},
	Unreachable:     {Transient, "WhatsApp could not be reached. wafleet keeps trying."},
	NoCapacity:      {Transient, "No connector had a free slot within 30 s. Add connectors or slots; the session goes on by itself."},
	Quarantined:     {NeedsUser, "The session ended unexpectedly several times in a row. Look at the connector's log, then start it again."},
	StoreError:      {NeedsUser, "The device store could not be opened or written. Check config.store and the connector's DATA_DIR, then start the session again."},
	ProxyError:      {NeedsUser, "The proxy of this session could not be used. wafleet keeps trying, and never connects around it. Check config.proxy."},
	InternalError:   {NeedsUser, "Something unexpected went wrong in the connector. Its log says what; start the session again."},

	SecretsUnreadable: {Terminal, "The secrets of this session's config could not be decrypted with this deployment's key. Restore the key, or start the session with a new config."},
}

// MeaningOf returns what a code means. Codes with a number of WhatsApp's in
// them share one meaning per kind.
func MeaningOf(code ReasonCode) Meaning {
	if m, ok := meanings[code]; ok {
		return m
	}
	switch {
	case strings.HasPrefix(string(code), connectFailurePrefix):
		return Meaning{NeedsUser, fmt.Sprintf("WhatsApp refused the login with code %s.", strings.TrimPrefix(string(code), connectFailurePrefix))}
	case strings.HasPrefix(string(code), streamErrorPrefix):
		return Meaning{Transient, fmt.Sprintf("WhatsApp sent the stream error %s.", strings.TrimPrefix(string(code), streamErrorPrefix))}
	}
	return Meaning{Transient, string(code)}
}

// ReasonCodes returns every code that has a meaning of its own, for
// documentation and its tests, in no particular order.
func ReasonCodes() []ReasonCode {
	codes := make([]ReasonCode, 0, len(meanings))
	for code := range meanings {
		codes = append(codes, code)
	}
	return codes
}

// Reason says why a session is in its state.
type Reason struct {
	Code    ReasonCode `json:"code"`
	Message string     `json:"message"`
	At      time.Time  `json:"at"`
	// RetryAt is when wafleet tries again by itself, where it knows.
	RetryAt *time.Time `json:"retryAt"`
}

// NewReason builds a reason with the code's documented sentence; detail, where
// given, is added to it.
func NewReason(code ReasonCode, at time.Time, detail string) *Reason {
	message := MeaningOf(code).Sentence
	if detail != "" {
		message += " (" + detail + ")"
	}
	return &Reason{Code: code, Message: message, At: at}
}

// WithRetryAt returns a copy that names the time of the next attempt.
func (r Reason) WithRetryAt(at time.Time) *Reason {
	r.RetryAt = &at
	return &r
}
