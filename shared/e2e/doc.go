// Package e2e tests the whole system from outside: requests over HTTP, real
// connector binaries, a real Postgres, and whatsmeow's real client on the real
// wire to the simulator. It has no code but tests and benchmarks.
package e2e
