package control

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/wafleet/wafleet/shared/session"
	"github.com/wafleet/wafleet/shared/store"
)

const (
	// codeWait bounds each wait for something that a connector has to write.
	codeWait = 5 * time.Second
	// forgetTimeout bounds the removal of a request row after its caller left.
	forgetTimeout = 2 * time.Second
)

// QR is a code to show; it is a credential.
type QR struct {
	Value     string
	ExpiresAt time.Time // on the database's clock
}

// QR returns the session's current code. While the session is on its way to
// one it waits up to 5 s. Errors: session.ErrNotFound, [*WrongStatusError],
// [ErrQRNotReady], session.ErrUnavailable.
func (c *Control) QR(ctx context.Context, tenant session.TenantID, name session.Name) (QR, error) {
	ctx, cancel := context.WithTimeout(ctx, codeWait)
	defer cancel()
	var found QR
	err := poll(ctx, func() (bool, error) {
		s, pairing, err := c.store.Pairing(ctx, tenant, name)
		if err != nil {
			return false, err
		}
		if err := readyToLink(s); err != nil {
			return isStarting(err), err
		}
		code, expiresAt, ok := pairing.QR.Current(s.ReadAt)
		if !ok {
			return noQR(s)
		}
		found = QR{Value: code, ExpiresAt: expiresAt}
		return false, nil
	})
	return found, err
}

// noQR says why a session that waits for a phone has no code, and whether one
// may still come.
func noQR(s session.Session) (wait bool, err error) {
	_, reason := s.View()
	if reason == nil {
		return true, ErrQRNotReady
	}
	return reason.Code != session.PasskeyRequired, fmt.Errorf("%w: %s", ErrQRNotReady, reason.Message)
}

// RequestCode asks the session's holder for a pairing code for a phone. Errors:
// session.ErrNotFound, [*WrongStatusError], [*CodeRefusedError],
// [ErrCodeTimeout], session.ErrUnavailable.
func (c *Control) RequestCode(ctx context.Context, by store.Actor, name session.Name, phone session.Phone) (string, error) {
	if err := c.awaitReadyToLink(ctx, by.Tenant, name); err != nil {
		return "", err
	}
	id, err := c.store.RequestCode(ctx, by, name, phone)
	if err != nil {
		return "", err
	}
	defer c.forget(ctx, id)
	return c.awaitCode(ctx, id)
}

func (c *Control) awaitReadyToLink(ctx context.Context, tenant session.TenantID, name session.Name) error {
	ctx, cancel := context.WithTimeout(ctx, codeWait)
	defer cancel()
	return poll(ctx, func() (bool, error) {
		s, err := c.store.Session(ctx, tenant, name)
		if err != nil {
			return false, err
		}
		err = readyToLink(s)
		return isStarting(err), err
	})
}

func (c *Control) awaitCode(ctx context.Context, id string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, codeWait)
	defer cancel()
	var found string
	err := poll(ctx, func() (bool, error) {
		answer, answered, err := c.store.CodeAnswer(ctx, id)
		switch {
		case errors.Is(err, session.ErrNotFound): // a stop or a newer request took its place
			return false, ErrCodeTimeout
		case err != nil:
			return false, err
		case !answered:
			return true, ErrCodeTimeout
		case answer.Problem != "":
			return false, &CodeRefusedError{Problem: answer.Problem}
		}
		found = answer.Code
		return false, nil
	})
	return found, err
}

// forget also runs where the caller has gone. A failure is left to the row's
// own expiry.
func (c *Control) forget(ctx context.Context, id string) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), forgetTimeout)
	defer cancel()
	_ = c.store.ForgetCodeRequest(ctx, id)
}

// readyToLink returns a [*WrongStatusError] unless a phone can link the session.
func readyToLink(s session.Session) error {
	status, reason := s.View()
	if status == session.ScanQRCode {
		return nil
	}
	return &WrongStatusError{Status: status, Expected: []session.Status{session.ScanQRCode}, Reason: reason}
}

func isStarting(err error) bool {
	var wrong *WrongStatusError
	return errors.As(err, &wrong) && wrong.Status == session.Starting
}
