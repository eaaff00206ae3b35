package fault

import (
	"testing"
	"time"

	"github.com/wafleet/wafleet/shared/session"
	"github.com/wafleet/wafleet/shared/store"
)

func TestTheThirdFaultInARowIsTheLast(t *testing.T) {
	t.Parallel()
	term := store.Term{ID: session.NewID(), Epoch: 7}
	for before, want := range []struct {
		state session.Status
		code  session.ReasonCode
		pause time.Duration // at most
	}{
		{session.Starting, session.InternalError, time.Second},
		{session.Starting, session.InternalError, 2 * time.Second},
		{session.Failed, session.Quarantined, 0},
		{session.Failed, session.Quarantined, 0},
	} {
		got := Judge(store.Report{Term: term, State: session.Working, Seen: 3, RetryIn: time.Hour}, before)
		if got.Term != term || got.Seen != 3 || got.State != want.state || got.Code != want.code || got.Message == "" || got.Faults != before+1 {
			t.Errorf("after %d: %+v", before, got)
		}
		if got.RetryIn > want.pause || (got.RetryIn > 0) != (want.pause > 0) {
			t.Errorf("after %d: tried again in %v, want up to %v", before, got.RetryIn, want.pause)
		}
	}
}
