// Package chaos breaks a whole system at random and checks that nothing is lost
// by it: real connector binaries, each with a link of its own to a real Postgres
// and to the simulator, are killed, frozen, told to leave, cut off and slowed
// down while sessions are started, stopped, linked and unlinked.
//
// What is done is a function of the seed, worked out before it begins (plan_test.go);
// when exactly it happens to what the processes are doing is not. Every run
// prints its seed and what it does, and ends with a table.
//
//	make chaos                             # 60 s
//	make chaos CHAOS=10m CHAOS_SEED=7
//	CHAOS_ONLY=kill,freeze make chaos      # some of the kinds of plan_test.go
//
// # What must hold
//
// All along: no device has two live sockets, no replaced socket sends a frame,
// no epoch goes back or has two holders. Once the faults end, within 30 s: every
// wanted session works or waits for a scan, or failed for what was done to it;
// no unwanted one has a holder, a socket or a code; no start job waits. At the
// very end every process leaves in time, and no log holds a secret, a panic, an
// illegal transition or a race of ours.
//
// It has no code but tests.
package chaos
