// Package conformance holds the API to its contract, from outside: the built
// programs, a real Postgres, a real connector and the simulator.
//
// Everything is asked at two doors that must not differ: the listener that "make
// run" uses, and the Lambda program behind the gateway of package lambdarun.
//
//	           ┌─ listener: api -listen ─────────────────┐
//	client ──▶ │                                         ├──▶ Postgres ◀── connector ──▶ wasim
//	           └─ Lambda: gateway ▶ events ▶ api × 4 ────┘
//
// The contract is one table (table_test.go). Each of its cells becomes a case per
// kind of caller. A case that changes something has a session of its own at each
// door, brought into its state through the API beforehand; all others share one
// per state.
//
// The package has no code but tests and benchmarks.
package conformance
