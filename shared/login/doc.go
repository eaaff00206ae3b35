// Package login is who a program logs in to Postgres as, where that is not in
// DATABASE_URL: a secret of AWS Secrets Manager, or a token of AWS IAM. Both are
// store.Credentials, asked at every new connection, and touch no connection that
// there is already.
//
//	Secret   one read for all who wait; kept; read again when the server refuses it
//	IAM      a token of its own for every connection, signed here; it lasts 15 minutes
//
// # Rotation
//
// RDS sets the new password at the server and then makes the new version of the
// secret the current one. Connections in between are refused with either; they fail
// as session.ErrUnavailable and the next try reads again, once in a second at most.
//
// # Time
//
// Nobody is asked before the first connection: the start of a Lambda waits for
// nothing. A read takes 5 s at most, the SDK's own retries included, and where
// Secrets Manager is away all who wait get session.ErrUnavailable, which the API
// answers with 503. Programs that have a login go on with it.
//
// No error and no log has any of the secret in it.
package login

import "github.com/wafleet/wafleet/shared/session"

// unavailable is session.ErrUnavailable with a text of its own: it is not the
// database that is away.
type unavailable struct {
	what  string
	cause error
}

func (e unavailable) Error() string   { return e.what + ": " + e.cause.Error() }
func (e unavailable) Unwrap() []error { return []error{session.ErrUnavailable, e.cause} }
