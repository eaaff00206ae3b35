// Package store is the one place that speaks SQL: every exported method is one
// transaction on the fleet's Postgres.
//
// # One writer per group of columns
//
//	tenant, api_key, session, pairing_request   the control plane
//	session_run, pairing                        the claim, then only the holder, fenced by epoch
//	start_job                                   whoever finds a wanted session that nobody holds; the claim removes it
//	connector                                   that connector; who knows that it is dead may end its lease
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
