// Package deployment runs built programs as an operator does, for tests: it
// builds them from a source tree, starts them, waits for what they say, and talks
// to their API as a client with a key.
//
// It knows nothing of the code of the programs, so that it serves those of an
// earlier release too.
package deployment
