package runner

import (
	"time"

	"github.com/wafleet/wafleet/shared/session"
	"github.com/wafleet/wafleet/shared/store"
	"github.com/wafleet/wafleet/shared/telemetry"
)

// show reports the state if it differs from the last report.
func (r *Runner) show() {
	report := r.report(r.phase.status(), r.reason)
	if r.held && report.State == session.Starting {
		report.State = session.Working
	}
	// A pause that has passed is no news, but must not be announced again.
	if r.phase != pausing {
		report.RetryIn = 0
	}
	same := report
	if same.RetryIn == 0 {
		same.RetryIn = r.shown.RetryIn
	}
	same.HeardAt = r.shown.HeardAt // a sign of life alone is no news
	if same == r.shown || r.phase == ended {
		return
	}
	if report.State != r.shown.State {
		r.log.Info("session is "+string(report.State), "reason", string(report.Code))
	}
	r.shown = report
	r.deps.Reporter.Put(report)
}

func (r *Runner) report(status session.Status, why reason) store.Report {
	report := store.Report{Term: r.term, State: status, Seen: r.wanted.Generation, Code: why.code, RetryIn: why.retryIn, PushName: r.pushName,
		HeardAt: lastHeard(r.link.conn, r.heard), Reconnects: r.reconnects}
	if why.code != "" {
		report.Message = session.NewReason(why.code, time.Time{}, clean(why.detail)).Message
	}
	return report
}

// clean makes a text of the far side fit for a reason: short, no numbers or
// keys, nothing that a database refuses.
func clean(detail string) string { return printable(telemetry.Redact(detail)) }

// printable cuts a text to 200 characters that a database takes.
func printable(text string) string {
	runes := []rune(text)
	if len(runes) > 200 {
		runes = append(runes[:200], '…')
	}
	for i, c := range runes {
		if c < ' ' || c == '\uFFFD' {
			runes[i] = ' '
		}
	}
	return string(runes)
}
