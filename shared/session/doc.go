// Package session holds wafleet's words: what a session is, what its user
// wants, what a connector reports about it, and what the API shows.
//
// It is pure: no clock, no database, no network. Everything else in the module
// may import it, and it imports nothing of the module.
//
// # What the API shows
//
// A session has one row that says what the user wants ([Wanted]: desired state
// and generation) and one row that says what its holder last reported ([Run]:
// state, reason and the generation the holder had seen). [View] folds the two
// into the status a client reads:
//
//	desired stopped ──────────────────────────────────────────────► STOPPED
//	desired running ─┬ the report is older than the last request ─► STARTING
//	                 ├ the holder gave up (FAILED) ───────────────► FAILED
//	                 ├ nobody holds it, or its holder is dead ────► STARTING (NO_CAPACITY after 30 s)
//	                 └ otherwise ─────────────────────────────────► what the holder reported
//
// So a session just started is STARTING before anyone claimed it, and one just
// stopped is STOPPED while its holder is still closing the socket.
package session
