package runner

import (
	"context"

	"github.com/wafleet/wafleet/shared/session"
)

// mustUnlink reports whether the user wants the linked device unlinked.
func (r *Runner) mustUnlink() bool { return session.MustUnlink(r.wanted, r.jid, r.linked) }

// begin is the first thing that a term does. A deleted session whose last term a
// bug ended does not connect again: whatever WhatsApp sends to it must not keep
// its credentials here for ever.
func (r *Runner) begin() {
	switch {
	case r.wanted.Deleted && (!r.mustUnlink() || r.faults > 0):
		r.erase()
	case r.mustUnlink():
		r.unlink()
	case r.wanted.Desired == session.DesiredStopped: // somebody else was faster
		r.end(session.Stopped, reason{})
	default:
		r.dial()
	}
}

// unlink makes WhatsApp forget the device, as soon as it is logged in, and
// bounds how long that may take, whatever else the user asks for meanwhile.
func (r *Runner) unlink() {
	if !r.limit {
		r.limit = true
		r.late.Reset(r.deps.Timing.Patience)
	}
	switch r.phase {
	case working:
		r.beginUnlinking()
	case pausing:
		r.dial()
	default:
		r.show()
	}
}

// unlinked is WhatsApp's answer.
type unlinked struct {
	attempt int
	err     error
}

// beginUnlinking is for a connection that is logged in.
func (r *Runner) beginUnlinking() {
	if r.move(unlinking, reason{}) {
		r.stopTimer()
		r.askToUnlink()
	}
}

// askToUnlink asks WhatsApp, once the dial has handed the connection over.
func (r *Runner) askToUnlink() {
	if r.link.conn == nil {
		return
	}
	conn, number, jid := r.link.conn, r.link.attempt, r.jid
	ctx, cancel := context.WithTimeout(r.link.current.ctx, r.deps.Timing.Unlink)
	r.writes.aside(func() {
		defer cancel()
		r.post(unlinked{number, conn.Unlink(ctx, jid)})
	})
}

func (r *Runner) onUnlinked(u unlinked) {
	switch {
	case u.attempt != r.link.attempt || r.phase != unlinking:
	case u.err != nil:
		r.log.Warn("WhatsApp did not unlink the device; trying again", "error", clean(u.err.Error()))
		r.lost(reason{code: session.Reconnecting})
	default:
		r.forget()
	}
}

// onLate gives up on WhatsApp: the phone may still list the device, but nobody
// can use it.
func (r *Runner) onLate() {
	if !r.mustUnlink() || r.phase == ended {
		return
	}
	r.log.Warn(notUnlinked, "after", r.deps.Timing.Patience.String(), "reason", string(r.reason.code))
	r.forget()
}

const notUnlinked = "the device could not be unlinked at WhatsApp; its credentials are removed all the same"

// giveUpUnlinking does at once what onLate does, where a device that is to be
// unlinked cannot be logged in any more, and reports whether that was so: after
// a failure nobody would try again. The end of a ban is worth the wait, except
// for a deleted session.
func (r *Runner) giveUpUnlinking(why reason) bool {
	switch {
	case r.wanted.Deleted:
		r.log.Warn(notUnlinked, "reason", string(why.code))
		r.erase()
	case r.mustUnlink() && why.retryIn == 0:
		r.log.Warn(notUnlinked, "reason", string(why.code))
		r.forget()
	default:
		return false
	}
	return true
}

// forgotten says that the credentials of a device are removed, or cannot be.
type forgotten struct {
	attempt int
	err     error
}

// forget removes the credentials, once the connection that uses them is closed.
// Those of a deleted session go with the rest.
func (r *Runner) forget() {
	r.link.close()
	r.stopTimer()
	if r.wanted.Deleted {
		r.erase()
		return
	}
	if !r.move(unlinking, r.reason) {
		return
	}
	number, jid := r.link.attempt, r.jid
	r.link.background(func() {
		ctx, cancel := context.WithTimeout(r.link.ctx, writeTimeout)
		defer cancel()
		r.post(forgotten{number, r.device.Forget(ctx, jid)})
	})
}

func (r *Runner) onForgotten(f forgotten) {
	if f.attempt != r.link.attempt || r.phase != unlinking {
		return
	}
	if f.err != nil {
		r.log.Warn("the credentials could not be removed; trying again", "error", clean(f.err.Error()))
		r.late.Reset(r.deps.Timing.Unlink)
		r.pause(reason{code: session.StoreError})
		return
	}
	r.afterUnlinking()
}

// afterUnlinking records that there is no device any more, and goes on with what
// else the user wants.
func (r *Runner) afterUnlinking() {
	r.log.Info("device unlinked")
	r.late.Stop()
	r.limit = false
	r.dropDevice()
	r.obey()
}

// dropDevice records that the session has no device.
func (r *Runner) dropDevice() {
	r.jid, r.pushName = "", ""
	seen := r.wanted.Generation
	r.writes.must("forget the device", func(ctx context.Context) error {
		return r.deps.Store.SetDeviceIfEpoch(ctx, r.deps.Me, r.term, "", seen)
	}, nil)
}

// erase ends the term of a deleted session; see leaveStore.
func (r *Runner) erase() {
	if r.phase == ended {
		return
	}
	r.outcome.Erased = true
	r.phase = ended
	r.outcome.Report = r.report(session.Stopped, reason{})
	r.log.Info("term ends", "state", string(session.Stopped), "reason", "deleted")
}

// leaveStore closes the device store. Where the session is deleted nothing stays
// in it; what could not be removed is tried again by the next holder.
func (r *Runner) leaveStore(ctx context.Context) {
	if !r.outcome.Erased {
		if err := r.device.Close(); err != nil {
			r.log.Warn("the device store could not be closed", "error", err.Error())
		}
		return
	}
	ctx, cancel := context.WithTimeout(ctx, writeTimeout)
	defer cancel()
	if err := r.device.Erase(ctx, r.jid); err != nil {
		r.log.Error("the device store of a deleted session could not be erased; trying again", "error", err.Error())
		r.outcome.Erased = false
		r.outcome.Report.State, r.outcome.Report.RetryIn = session.Starting, r.deps.Timing.Pause.Max
	}
}
