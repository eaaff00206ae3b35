// Package runner runs one session for one term: from the claim to the release.
//
// A [Runner] is a loop with a mailbox. Only the loop changes the session's
// state; callbacks of the WhatsApp connection, answers of the database and
// requests of the user are messages to it. Whatever may block runs beside the
// loop and sends its result to the mailbox, so that a stop is always heard at
// once.
//
// # Phases
//
//	             ┌──────────────────── pause ◄─────────────┐
//	             ▼                                         │ lost, refused, silent
//	claim ──► dialing ──► scanning ──► linking ──┐         │
//	             │ ▲                             │         │
//	             │ └────────── reconnect ────────┘         │
//	             ├──► loggingIn ──► working ───────────────┤
//	             └─────────────────────────────────────────┘
//	every phase ──► ended (stopped, released, failed, fenced)
//
// dialing, loggingIn, linking and the pause show as STARTING, scanning as
// SCAN_QR_CODE, working as WORKING. A lost connection shows as WORKING for a
// grace of 10 s, because most are back within it.
//
// # One connection at a time
//
// Every connection attempt has a number, and events of another attempt than the
// current are dropped. Dials and closes run one after the other: the next dial
// starts when the previous socket is known to be closed.
//
// # Ends
//
// Run returns an [Outcome]. Unless the term was fenced, the caller releases the
// session with the report in it; a release is never a stop.
//
// The loop hears an end at once, whatever hangs. Run returns when what it
// started has ended: a dial, a probe and a request for a pairing code end with
// the context of their connection, a [Conn] closes within a second or so, and
// codes that are being written are given up. Only the record of which device
// was linked or unlinked is tried for as long as the authority lasts.
package runner
