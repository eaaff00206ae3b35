// Package supervisor decides which sessions this connector holds: it claims
// what waits while there are free slots, gives every claim a runner, passes on
// what users ask for, and gives sessions back when their runners end or when
// the process leaves.
//
// Rows are the truth and hints only shorten the wait: every poll finds
// everything by itself. One poll costs the same however many sessions are held.
//
//	hint or poll ──► claim ──► open device ──► runner ──► release
//	hint or poll ──► changes of held sessions ──► runner
//
// A hint by way of a queue names one session and goes to one connector only; see
// named.go.
//
// Intake and work have separate ends. When intake ends (SIGTERM), nothing more
// is claimed and every session is handed back: as fast as the others take them
// on, so that none waits unconnected, and those that a user is linking last.
// When the authority ends (the lease is lost), runners close their sockets and
// nothing more is written; whoever sees the lease pass takes the sessions.
//
// A supervisor that holds more than its even part moves sessions away, one at a
// time; see balance.go.
package supervisor
