package store

import (
	"context"
	"fmt"
	"log/slog"

	"github.com/wafleet/wafleet/shared/session"
)

// Login is who a connection logs in as. It is a secret.
type Login struct{ User, Password string }

// String leaves the password out of every text.
func (l Login) String() string { return l.User }

// LogValue leaves the password out of every log.
func (l Login) LogValue() slog.Value { return slog.StringValue(l.User) }

// Credentials give the login of every new connection, where it is not in the
// URL. They are asked by many goroutines at once, and must bound their own time:
// some connections are made under a context that never ends.
type Credentials interface {
	// Login is what to log in with. An error that a retry may mend is
	// session.ErrUnavailable.
	Login(ctx context.Context) (Login, error)
	// Renew is asked when the server has refused a login: it returns the one that
	// is valid now, which is the same where there is no other.
	Renew(ctx context.Context, refused Login) (Login, error)
}

// withLogin opens one connection. Where the server refuses the login, as after a
// rotation, and the credentials have another one by now, it is tried once more. A
// refusal that stays is session.ErrUnavailable: a rotation that is under way ends.
func withLogin(ctx context.Context, from Credentials, open func(Login) error) error {
	login, err := from.Login(ctx)
	if err != nil {
		return err
	}
	err = open(login)
	if !isRefused(err) {
		return err
	}
	next, renewal := from.Renew(ctx, login)
	switch {
	case renewal != nil:
		return fmt.Errorf("%w: %w, and there is no newer login: %w", session.ErrUnavailable, err, renewal)
	case next != login:
		err = open(next)
	}
	if isRefused(err) {
		return fmt.Errorf("%w: %w", session.ErrUnavailable, err)
	}
	return err
}

// isRefused reports that the server did not accept who wanted in.
func isRefused(err error) bool {
	state := sqlState(err)
	return state == invalidPassword || state == invalidAuthorization
}
