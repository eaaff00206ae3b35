package runner

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"github.com/wafleet/wafleet/connector/event"
	"github.com/wafleet/wafleet/shared/backoff"
	"github.com/wafleet/wafleet/shared/session"
	"github.com/wafleet/wafleet/shared/store"
)

// ErrSecrets: the secrets in a session's config cannot be decrypted here, so its
// device store was not opened.
var ErrSecrets = errors.New("the secrets of the config cannot be decrypted")

// Device is a session's device store, open for this term.
type Device interface {
	// Connect dials and finishes the handshake; the rest is told to sink, from
	// any goroutine. An empty jid makes an unlinked device. ctx bounds the life
	// of the connection; where it ends, Connect returns promptly.
	Connect(ctx context.Context, jid string, sink func(event.Event)) (Conn, error)
	// RefreshVersion finds a newer client version than the refused one, for the
	// whole process, by the session's own way to WhatsApp.
	RefreshVersion(ctx context.Context, refused string) error
	// Forget removes the credentials of a device; no connection is open.
	Forget(ctx context.Context, jid string) error
	// Erase removes all that the session keeps, and closes the store.
	Erase(ctx context.Context, jid string) error
	Close() error
}

// Conn is one connection to WhatsApp.
type Conn interface {
	// PairPhone returns a code, XXXX-XXXX, that links the device. Like Probe it
	// returns promptly when its context ends.
	PairPhone(ctx context.Context, phone session.Phone) (string, error)
	// Unlink makes WhatsApp forget the device. Like PairPhone it returns promptly.
	Unlink(ctx context.Context, jid string) error
	// Probe reports whether WhatsApp answers.
	Probe(ctx context.Context) bool
	// Heard is when the last sign of life came, zero before the first.
	Heard() time.Time
	// Up reports whether the connection is open and logged in. It never waits.
	Up() bool
	// Close returns when the socket is closed, within a second or so.
	Close()
}

// Store is what a runner writes by itself, fenced by its term.
type Store interface {
	SetDeviceIfEpoch(ctx context.Context, me session.ConnectorID, term store.Term, jid string, seen session.Generation) error
	PutQRIfEpoch(ctx context.Context, term store.Term, q session.QRCodes) error
	ClearPairingIfEpoch(ctx context.Context, term store.Term) error
	AnswerCodeIfEpoch(ctx context.Context, term store.Term, request, code, problem string, life time.Duration) error
	StillHeld(ctx context.Context, me session.ConnectorID, term store.Term) (bool, error)
}

// Reporter takes the newest state of the session.
type Reporter interface {
	Put(store.Report)
}

// Pacer spreads the connects of the whole process.
type Pacer interface {
	Wait(ctx context.Context) error
}

// Versions is the WhatsApp client version of the whole process.
type Versions interface {
	Current() string
}

// Observer counts what happens, for metrics.
type Observer interface {
	Reconnect(session.ReasonCode)
	StreamError()
	IllegalTransition()
	Panic()
}

// Deps is what all runners of a process share.
type Deps struct {
	Me       session.ConnectorID
	Store    Store
	Reporter Reporter
	Pacer    Pacer
	Versions Versions
	Observer Observer
	Timing   Timing
}

// Timing bounds every transitional state.
type Timing struct {
	QRFirst, QRNext time.Duration  // how long WhatsApp accepts the first code, and each further one
	Dial            time.Duration  // from a dial's turn to an open connection
	Login           time.Duration  // from an open connection to a complete login, or to QR codes
	Link            time.Duration  // from a linked device to WhatsApp's request to reconnect
	Grace           time.Duration  // how long a lost connection still shows as WORKING
	Probe           time.Duration  // how long an extra keepalive may take
	Silence         time.Duration  // a working connection that was not heard for so long is lost, whatever the library says
	Untold          time.Duration  // how long after its end a connection may still say why it ended
	Stable          time.Duration  // a connection of this age resets the pauses
	PairPhone       time.Duration  // how long asking for a pairing code may take
	Unlink          time.Duration  // how long WhatsApp may take to forget a device
	Patience        time.Duration  // how long a device is tried to be unlinked before its credentials are removed all the same
	Refresh         time.Duration  // how long asking for the client version may take
	Pause           backoff.Policy // between connection attempts
	Refused         backoff.Policy // the same after a login that WhatsApp refused
	MaxRefusals     int            // refused logins in a row before giving up
	MaxQRSets       int            // sets of codes shown when the connection is lost while waiting for a scan
}

// DefaultTiming is what production runs with.
func DefaultTiming() Timing {
	return Timing{
		QRFirst: session.FirstQRLife, QRNext: session.NextQRLife,
		Dial: time.Minute, Login: 45 * time.Second, Link: 5 * time.Second,
		Grace: 10 * time.Second, Probe: 10 * time.Second, Silence: 50 * time.Second, Untold: 6 * time.Second, Stable: 10 * time.Second,
		PairPhone: 10 * time.Second, Unlink: 10 * time.Second, Patience: 2 * time.Minute, Refresh: 10 * time.Second,
		// Everything is back within 30 s of an outage, however long it was. The
		// pacer, not this, keeps a process's connects from being too many.
		Pause: backoff.Policy{Base: time.Second, Max: 20 * time.Second},
		// Logins that are refused one after the other are what gets a number banned.
		Refused:     backoff.Policy{Base: 3 * time.Second, Max: 20 * time.Second},
		MaxRefusals: 5, MaxQRSets: 3,
	}
}

// Term is what this runner runs.
type Term struct {
	Claim  store.Claim
	Device Device
	Log    *slog.Logger
	Level  *slog.LevelVar // follows config.log.level
}

// Handover is why a session is given back that the user still wants.
type Handover string

// Handovers.
const (
	Drained     Handover = "drain"     // its connector leaves
	MovedAway   Handover = "rebalance" // another connector holds less
	Reconfigure Handover = "config"    // its new config needs a fresh term
)

// Outcome is how a term ended.
type Outcome struct {
	Handover Handover // empty: it was not handed over
	// Report is the last state, to be written with the release.
	Report store.Report
	// Fenced is why nothing must be written: somebody else holds the session, or
	// the process lost its lease. Nil otherwise.
	Fenced error
	// Erased: nothing of the session is left here, and its rows are to go.
	Erased bool
	// Panicked: a bug ended the term.
	Panicked bool
}
