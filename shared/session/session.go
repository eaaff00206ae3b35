package session

import "time"

// Session is everything the rows say about one session at one moment.
type Session struct {
	ID        ID
	Tenant    TenantID
	Name      Name
	Config    Config // without its secrets
	Wanted    Wanted
	Run       Run
	CreatedAt time.Time
	// ReadAt is when the rows were read, on the database's clock: the only
	// clock that may be compared with the times in them.
	ReadAt time.Time
}

// View is what the API shows of the session; see the function [View].
func (s Session) View() (Status, *Reason) { return View(s.Wanted, s.Run, s.ReadAt) }

// Device is the linked device as the user sees it: one that is about to be
// unlinked is none.
func (s Session) Device() string {
	if MustUnlink(s.Wanted, s.Run.JID, s.Run.Linked) {
		return ""
	}
	return s.Run.JID
}

// Pairing is what a phone needs to link a session. Everything in it is a
// credential.
type Pairing struct {
	QR QRCodes
}

// CodeAnswer is a holder's answer to a request for a pairing code.
type CodeAnswer struct {
	Code       string // XXXX-XXXX, a credential; empty with a Problem
	ValidUntil time.Time
	Problem    string // why there is no code, for people
}
