// Package fault decides what becomes of a session whose term a bug has ended:
// another try after a pause, or quarantine. It is one decision for whoever finds
// out: the connector that caught the panic, or the guard of one that did not.
package fault

import (
	"time"

	"github.com/wafleet/wafleet/shared/backoff"
	"github.com/wafleet/wafleet/shared/session"
	"github.com/wafleet/wafleet/shared/store"
)

// limit is how many terms in a row a bug may end.
const limit = 3

var pause = backoff.Policy{Base: time.Second, Max: 30 * time.Second}

// Judge completes the last report of a term that a bug has ended. before is how
// many terms a bug has ended already, on whatever connector.
func Judge(last store.Report, before int) store.Report {
	last.Faults = before + 1
	code := session.InternalError
	last.State, last.RetryIn = session.Starting, pause.Pause(last.Faults)
	if last.Faults >= limit {
		code = session.Quarantined
		last.State, last.RetryIn = session.Failed, 0
	}
	reason := session.NewReason(code, time.Time{}, "")
	last.Code, last.Message = reason.Code, reason.Message
	return last
}
