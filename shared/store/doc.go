// Package store is the one place that speaks SQL: every exported method is one
// transaction on the fleet's Postgres.
//
// # One writer per group of columns
//
//	tenant, api_key, session, pairing_request   the control plane
//	idempotency                                 the control plane; sweep removes what has passed
//	audit                                       whoever does a deed, in the statement that does it; sweep forgets what is old
//	session_run, pairing                        the claim, then only the holder, fenced by epoch; who knows that it is dead
//	start_job                                   whoever finds a wanted session that nobody holds; the claim removes it
//	connector                                   that connector; who knows that it is dead may end its lease
//	data_key                                    the first process that seals a secret; then the operator who rotates it
//
// A deleted session is a row that nobody is shown. The last holder removes it,
// once it has erased the device.
//
// # Fencing
//
// Every write of a holder carries the epoch of its claim and is compared with
// the epoch on the very row it writes. A condition on another row is not
// enough: under READ COMMITTED a statement that waited for a row lock
// re-evaluates only the row it waited for, so a stale holder would still get
// through. For the same reason the pairing row exists as long as the session
// does: an insert has no epoch to be compared with.
//
// The tables of the device stores are the client library's and have no epoch.
// There the connection is the fence: it carries its connector's name, it refuses
// to write when the connector's trust has ended, and whoever takes a session
// over from a dead connector ends that one's connections first, in the same
// statement. So not even a statement that was sent in time, and that a network
// or a kernel kept back, arrives after the first of its successor. (Postgres 14
// or newer, and no pooler between connectors and Postgres.)
//
// # Behind a pooler
//
// What the control plane does works behind a pooler in transaction mode, such as
// pgbouncer or RDS Proxy: no method relies on its session, but Listen, WithLock
// and whatever Options.Owner is set for, which are the connectors'. A statement
// and its arguments go in one round trip (binary_parameters=yes). As the driver
// sends them by default, in two, the pooler gives the connection to somebody else
// in between: of 40,000 statements of 16 clients on 8 connections 18,985 were
// answered with the result of another, without an error (make test-pooler; 0 as
// the store opens it).
//
// # Clocks
//
// Times in rows are the database's: now() at the writer. Callers hand in
// durations, never times of their own clock.
//
// # Errors
//
// Driver errors become domain errors of package session in errors.go, by
// SQLSTATE. What a retry may mend is session.ErrUnavailable.
package store
