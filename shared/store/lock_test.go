package store_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"testing"

	"github.com/wafleet/wafleet/shared/session"
)

// A connector that loses its database while it prepares waits for it; it does
// not exit.
func TestTroubleUnderALockMayBeTriedAgain(t *testing.T) {
	t.Parallel()
	s := newFleet(t).direct()
	err := s.WithLock(t.Context(), "test", func(context.Context) error {
		return fmt.Errorf("look at the tables: %w", os.ErrDeadlineExceeded)
	})
	if !errors.Is(err, session.ErrUnavailable) {
		t.Errorf("error %v, want ErrUnavailable", err)
	}
	broken := errors.New("broken for good")
	if err := s.WithLock(t.Context(), "test", func(context.Context) error { return broken }); !errors.Is(err, broken) || errors.Is(err, session.ErrUnavailable) {
		t.Errorf("error %v, want the caller's own", err)
	}
}
