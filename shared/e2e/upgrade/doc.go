// Package upgrade tests that two releases in a row run beside each other, on one
// database, in the order in which a deployment replaces them:
//
//	migrate ──▶ connectors ──▶ API
//
// and back again without migrating back. It builds the programs of the previous
// release from the history of the repository. It has no code but tests.
package upgrade
