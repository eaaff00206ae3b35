package control

import (
	"context"
	"errors"
	"testing"

	"go.uber.org/goleak"

	"github.com/wafleet/wafleet/shared/session"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestPollEndsWithTheLastAnswer(t *testing.T) {
	t.Parallel()
	waiting := errors.New("not yet")
	ctx, cancel := context.WithCancel(t.Context())
	looks := 0
	err := poll(ctx, func() (bool, error) {
		looks++
		if looks == 3 {
			cancel()
			return false, session.ErrUnavailable // cut short by the end itself
		}
		return true, waiting
	})
	if !errors.Is(err, waiting) || looks != 3 {
		t.Errorf("error %v after %d looks", err, looks)
	}
	if err := poll(t.Context(), func() (bool, error) { return false, session.ErrUnavailable }); !errors.Is(err, session.ErrUnavailable) {
		t.Errorf("error %v", err)
	}
}
