package runner

import (
	"slices"

	"github.com/wafleet/wafleet/shared/session"
)

// phase is what the runner is doing.
type phase string

const (
	pausing   phase = "pausing"   // until the next connection attempt
	dialing   phase = "dialing"   // to WhatsApp, and waiting for QR codes where unlinked
	scanning  phase = "scanning"  // QR codes are shown
	linking   phase = "linking"   // a phone scanned; the connection must be made again
	loggingIn phase = "loggingIn" // connected, the login is not complete
	working   phase = "working"
	unlinking phase = "unlinking" // logged in to make WhatsApp forget the device, and then forgetting it here
	ended     phase = "ended"
)

// transitions is every legal move. Events overtake the answer of the dial they
// belong to, so dialing leads everywhere.
var transitions = map[phase][]phase{
	pausing:   {pausing, dialing, unlinking, ended},
	dialing:   {scanning, linking, loggingIn, working, unlinking, pausing, ended},
	scanning:  {scanning, linking, pausing, ended},
	linking:   {dialing, unlinking, pausing, ended},
	loggingIn: {working, unlinking, pausing, dialing, ended},
	working:   {unlinking, pausing, dialing, ended},
	unlinking: {unlinking, pausing, dialing, ended},
	ended:     {},
}

func (p phase) mayMove(to phase) bool { return slices.Contains(transitions[p], to) }

// status is what a phase shows as.
func (p phase) status() session.Status {
	switch p {
	case scanning:
		return session.ScanQRCode
	case working:
		return session.Working
	}
	return session.Starting
}
