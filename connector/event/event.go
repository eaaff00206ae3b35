// Package event holds what a connection to WhatsApp may say about itself, as
// plain data. The whatsapp package produces events; the runner consumes them.
// Neither knows the other.
package event

import (
	"errors"
	"time"
)

// Event is one of the types of this package.
type Event interface{ event() }

type (
	// QR is a set of codes for an unlinked device, every one a credential.
	QR struct{ Codes []string }

	// Paired says that a phone linked the device. The connection ends next and
	// must be made again to log in.
	Paired struct{ JID string }

	// PairFailed says that the phone scanned, but linking failed.
	PairFailed struct{ Problem string }

	// PasskeyAsked says that WhatsApp wants a passkey before it links.
	PasskeyAsked struct{}

	// ReconnectNeeded ends a pairing (WhatsApp's stream error 515).
	ReconnectNeeded struct{}

	// Connected says that the login is complete and messages flow.
	Connected struct{}

	// Named carries the account's display name.
	Named struct{ PushName string }

	// Disconnected says that the far side closed the connection.
	Disconnected struct{}

	// PingMissed says that a keepalive was not answered in time.
	PingMissed struct{}

	// Replaced says that another program logged in as this device.
	Replaced struct{}

	// LoggedOut says that the device is unlinked; its credentials are gone.
	LoggedOut struct{ Code int }

	// Banned says that the account may not log in for a while.
	Banned struct {
		For    time.Duration // 0: not said
		Reason string
	}

	// Outdated says that WhatsApp refuses this client version.
	Outdated struct{}

	// Refused is a refused login that has no word of its own.
	Refused struct {
		Code    int
		Message string
	}

	// StreamError is a stream error that has no word of its own.
	StreamError struct{ Code string }

	// Panicked says that the client library panicked on what came in. It is
	// logged already. The process lives on, but what the library was doing is left
	// half done, so the connection must not be used any more.
	Panicked struct {
		Value any
		Stack []byte
	}
)

func (QR) event()              {}
func (Paired) event()          {}
func (PairFailed) event()      {}
func (PasskeyAsked) event()    {}
func (ReconnectNeeded) event() {}
func (Connected) event()       {}
func (Named) event()           {}
func (Disconnected) event()    {}
func (PingMissed) event()      {}
func (Replaced) event()        {}
func (LoggedOut) event()       {}
func (Banned) event()          {}
func (Outdated) event()        {}
func (Refused) event()         {}
func (StreamError) event()     {}
func (Panicked) event()        {}

// Errors of a connection attempt that need another answer than trying again.
var (
	// ErrNoDevice: the linked device is not in its store any more.
	ErrNoDevice = errors.New("the linked device is not in its store")
	// ErrStore: the device store did not answer.
	ErrStore = errors.New("the device store did not answer")
	// ErrVersionUnknown: WhatsApp's current client version could not be learned.
	// It says nothing about the version in use, and asking again may help.
	ErrVersionUnknown = errors.New("the current client version could not be learned")
)
