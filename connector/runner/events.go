package runner

import (
	"context"
	"errors"
	"time"

	"github.com/wafleet/wafleet/connector/event"
	"github.com/wafleet/wafleet/shared/session"
)

// onEvent is the table of what WhatsApp may say and what follows.
func (r *Runner) onEvent(e event.Event) {
	switch e := e.(type) {
	case event.QR:
		r.onQR(e)
	case event.Paired:
		r.onPaired(e)
	case event.PairFailed:
		r.fail(session.PairError, e.Problem)
	case event.PasskeyAsked:
		if r.phase == scanning {
			r.move(scanning, reason{code: session.PasskeyRequired})
		}
	case event.ReconnectNeeded:
		r.onReconnectNeeded()
	case event.Connected:
		r.onConnected()
	case event.Named:
		if name := printable(e.PushName); name != "" {
			r.pushName = name
			r.show()
		}
	case event.Disconnected:
		r.onDisconnected()
	case event.PingMissed:
		if r.phase == working {
			r.probe()
		}
	case event.Replaced:
		r.checkHolding()
	case event.LoggedOut:
		r.loggedOut("")
	case event.Banned:
		r.end(session.Failed, reason{code: session.TempBan, detail: e.Reason, retryIn: e.For})
	case event.Outdated:
		r.onOutdated()
	case event.Refused:
		r.onRefused(e)
	case event.Panicked:
		r.deps.Observer.Panic()
		r.endPanicked()
	case event.StreamError:
		r.deps.Observer.StreamError()
		r.reason = reason{code: session.StreamError(e.Code)}
		r.show()
	}
}

func (r *Runner) onConnected() {
	switch {
	case r.phase == working:
		return
	case r.jid == "":
		r.illegal(working)
		return
	case r.phase == unlinking:
		return
	case r.mustUnlink():
		r.beginUnlinking()
		return
	case !r.move(working, reason{}):
		return
	}
	r.stopTimer()
	r.connectedAt = time.Now()
	r.refusals, r.refreshed = 0, false
}

func (r *Runner) onDisconnected() {
	switch r.phase {
	case working:
		r.beginGrace()
		r.lost(reason{code: session.Reconnecting})
	case unlinking:
		if r.link.conn != nil { // otherwise it was closed by us
			r.lost(reason{code: session.Reconnecting})
		}
	case scanning:
		r.onScanLost()
	case linking: // the far side closed before it asked to reconnect
		r.onReconnectNeeded()
	case dialing, loggingIn: // a refusal for now looks like this
		r.endGrace()
		r.lost(reason{code: session.Reconnecting, detail: "WhatsApp closed the connection during the login"})
	}
}

// loggedOut ends a term whose device is gone. The next start links again. Where
// that is what the user wants, what is left of its credentials goes too.
func (r *Runner) loggedOut(detail string) {
	if r.mustUnlink() {
		r.forget()
		return
	}
	r.dropDevice()
	r.fail(session.LoggedOut, detail)
}

// holdingChecked says whether the term was still ours when another program
// logged in as the device.
type holdingChecked struct {
	ours bool
	err  error
}

// checkHolding reads the epoch again: another holder of the fleet is no reason
// to speak, a foreign program is. In neither case may we connect again at once;
// two owners that fight get an account banned.
func (r *Runner) checkHolding() {
	r.link.close()
	if !r.move(pausing, reason{code: session.StreamReplaced}) {
		return
	}
	r.stopTimer()
	var ours bool
	r.writes.do("read the epoch", func(ctx context.Context) (err error) {
		ours, err = r.deps.Store.StillHeld(ctx, r.deps.Me, r.term)
		return err
	}, func(err error) message { return holdingChecked{ours, err} })
}

// onHoldingChecked ends the term either way. Where the database gave no answer,
// the release finds out whether the term was ours.
func (r *Runner) onHoldingChecked(c holdingChecked) {
	if r.phase != pausing { // the user asked anew meanwhile
		return
	}
	if c.ours || (c.err != nil && !errors.Is(c.err, session.ErrNotFound)) {
		r.fail(session.StreamReplaced, "")
	} else {
		r.endFenced(session.ErrFenced)
	}
}

func (r *Runner) onRefused(e event.Refused) {
	r.endGrace()
	r.refusals++
	why := reason{code: session.ConnectFailure(e.Code), detail: e.Message}
	if r.refusals >= r.deps.Timing.MaxRefusals {
		r.end(session.Failed, why)
		return
	}
	r.lost(why)
}

// versionRefreshed says whether a newer client version is there.
type versionRefreshed struct{ err error }

// onOutdated refreshes the client version and tries once more.
func (r *Runner) onOutdated() {
	if r.refreshed {
		r.fail(session.ClientOutdated, "version "+r.deps.Versions.Current())
		return
	}
	r.refreshed = true
	r.endGrace()
	r.link.close()
	if !r.move(pausing, reason{code: session.ClientOutdated}) {
		return
	}
	r.stopTimer()
	refused := r.deps.Versions.Current()
	r.writes.aside(func() {
		ctx, cancel := context.WithTimeout(r.writes.loop, r.deps.Timing.Refresh)
		defer cancel()
		r.post(versionRefreshed{r.device.RefreshVersion(ctx, refused)})
	})
}

func (r *Runner) onVersionRefreshed(v versionRefreshed) {
	switch {
	case r.phase != pausing:
	case errors.Is(v.err, event.ErrVersionUnknown) || errors.Is(v.err, context.DeadlineExceeded): // the network, not the version: no reason to give up
		r.refreshed = false
		r.pause(reason{code: session.ClientOutdated, detail: "the current version could not be learned"})
	case v.err != nil && !errors.Is(v.err, context.Canceled):
		r.fail(session.ClientOutdated, v.err.Error())
	default:
		r.dial()
	}
}
