// Package chaos breaks a whole system at random and checks that nothing is lost
// by it: the real programs, connector, api and sweep, on a Postgres of their own
// and the simulator, to both of which every connector has a link of its own.
// Connectors, API and sweep are killed, frozen, told to leave and started again,
// one connector joins and leaves, Postgres is restarted and crashed, links are
// cut off and slowed down one by one and all at once, while sessions are
// started, stopped, restarted, updated, linked by scan and by code, unlinked,
// logged out, deleted, made anew and read.
//
// What is done is a function of the seed, worked out before it begins (plan_test.go);
// when exactly it happens to what the processes are doing is not. Every run
// prints its seed and what it does, and ends with a table.
//
//	make chaos                             # 60 s
//	make chaos CHAOS=10m CHAOS_SEED=7
//	CHAOS_ONLY=kill,freeze make chaos      # some of the kinds of plan_test.go
//	CHAOS_KEEP_GOING=1 make chaos          # after a failure too
//
// # What must hold
//
// All along: no device has two live sockets, no replaced socket sends a frame,
// no epoch goes back or has two holders, no start job is lost, no session fails
// for what was not done to it. The API answers within 30 s of trying, never with
// an error of its own but 503, lists every session, and shows what was asked of
// it as soon as it has said yes.
//
// Once the faults end, within 30 s: every wanted session works or waits for a
// scan, or failed for what was done to it; no unwanted one has a holder, a
// socket or a code; of what was logged out or deleted nothing is left in any
// table, on disk or at WhatsApp, and who is logged out can be linked again; no
// start job waits, no code outlives its time; goroutines, files, sockets and
// connections to Postgres are back to what they were before the faults, for the
// sessions that each connector holds.
//
// At the very end every process leaves in time, sockets and connections are
// closed, every wanted session has its start job, and no log holds a secret, a
// panic, an illegal transition or a race of ours.
//
// # What it stands on
//
// Sessions move at any time: a connector may give one back so that another
// takes it, and then epoch and holder change without a fault.
//
// Postgres runs without fsync but waits for its write-ahead log: an immediate
// shutdown must lose nothing that was committed. Who looks at the database
// directly is excused while it is away; who asks the API tries again.
//
// It has no code but tests.
package chaos
