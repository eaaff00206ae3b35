package runner

import (
	"context"
	"errors"
	"time"

	"github.com/wafleet/wafleet/connector/event"
	"github.com/wafleet/wafleet/shared/session"
	"github.com/wafleet/wafleet/shared/store"
)

// pairing is what the runner knows while a device is being linked.
type pairing struct {
	sets       int       // sets of QR codes shown in this term
	until      time.Time // when the shown set runs out
	codesShown bool      // codes are in the database

	request  store.CodeRequest // the wish for a pairing code
	answered string            // the id of the last request that was taken up
	busy     bool              // a code is being made

	unsaved   bool // the device that was just linked is not in the database yet
	mayRelink bool // it may log in as soon as it is
}

// codesStored says that a set of codes can be read by the API.
type codesStored struct {
	attempt int
	codes   session.QRCodes
	err     error
}

// onQR stores a set of codes; the status follows when they can be read.
func (r *Runner) onQR(e event.QR) {
	if r.jid != "" || len(e.Codes) == 0 || (r.phase != dialing && r.phase != scanning) {
		return
	}
	attempt := r.link.attempt
	codes := session.QRCodes{Codes: e.Codes, First: r.deps.Timing.QRFirst, Next: r.deps.Timing.QRNext}
	r.pairing.codesShown = true
	r.writes.do("store the QR codes", func(ctx context.Context) error {
		return r.deps.Store.PutQRIfEpoch(ctx, r.term, codes)
	}, func(err error) message { return codesStored{attempt, codes, err} })
}

func (r *Runner) onCodesStored(c codesStored) {
	if c.attempt != r.link.attempt || !r.phase.mayMove(scanning) {
		return
	}
	if c.err != nil {
		r.refusedWrite("store the QR codes", c.err)
		return
	}
	r.pairing.sets++
	r.pairing.until = time.Now().Add(c.codes.Life())
	r.setTimer(c.codes.Life())
	r.move(scanning, reason{})
	r.askPhone()
}

// onScanLost: WhatsApp closes the connection when the codes have run out,
// sometimes a little early; otherwise the network did, and a new set is worth
// showing.
func (r *Runner) onScanLost() {
	if time.Until(r.pairing.until) <= r.deps.Timing.QRNext || r.pairing.sets >= r.deps.Timing.MaxQRSets {
		r.fail(session.QRExpired, "")
		return
	}
	r.lost(reason{code: session.Reconnecting})
}

// dropCodes removes codes that no phone can use any more.
func (r *Runner) dropCodes() {
	if !r.pairing.codesShown {
		return
	}
	r.pairing.codesShown = false
	r.writes.do("remove the pairing codes", func(ctx context.Context) error {
		return r.deps.Store.ClearPairingIfEpoch(ctx, r.term)
	}, nil)
}

// deviceStored says that the linked device is recorded, or cannot be.
type deviceStored struct{ err error }

// onPaired records the device before anything else: a crash from here on finds
// it again.
func (r *Runner) onPaired(e event.Paired) {
	if r.jid != "" {
		r.illegal(linking)
		return
	}
	if !r.move(linking, reason{}) {
		return
	}
	r.jid, r.linked, r.pairing.unsaved = e.JID, r.wanted.Generation, true
	seen := r.linked
	r.log.Info("device linked")
	r.setTimer(r.deps.Timing.Link)
	r.writes.must("record the device", func(ctx context.Context) error {
		return r.deps.Store.SetDeviceIfEpoch(ctx, r.deps.Me, r.term, e.JID, seen)
	}, func(err error) message { return deviceStored{err} })
	r.pairing.codesShown = false // they go with that
}

func (r *Runner) onDeviceStored(d deviceStored) {
	switch {
	case errors.Is(d.err, session.ErrDeviceTaken):
		r.jid = ""
		r.fail(session.PairError, "the device already belongs to another session")
		return
	case d.err != nil:
		r.refusedWrite("record the device", d.err)
		return
	}
	r.pairing.unsaved = false
	if r.pairing.mayRelink {
		r.reconnect()
	}
}

// refusedWrite ends a term that cannot go on without a write.
func (r *Runner) refusedWrite(what string, err error) {
	r.log.Error("a write was refused", "what", what, "error", err.Error())
	r.fail(session.InternalError, "")
}

// onReconnectNeeded logs in with the new device. WhatsApp's request can be lost
// with the connection, so the deadline of the phase leads here too.
func (r *Runner) onReconnectNeeded() {
	if r.phase != linking {
		return
	}
	r.pairing.mayRelink = true
	if !r.pairing.unsaved {
		r.reconnect()
	}
}

// codeMade is WhatsApp's answer to a request for a pairing code.
type codeMade struct {
	attempt int
	request store.CodeRequest
	code    string
	err     error
}

// onCodeRequest keeps the wish until QR codes are shown: only then does
// WhatsApp hand out pairing codes.
func (r *Runner) onCodeRequest(request store.CodeRequest) {
	switch {
	case request.ID == r.pairing.answered:
	case r.jid != "":
		r.refuseCode(request, "the session is linked already")
	case request != r.pairing.request:
		r.pairing.request = request
		r.askPhone()
	}
}

// askPhone makes a pairing code if one is wished for and possible now.
func (r *Runner) askPhone() {
	request, conn, number := r.pairing.request, r.link.conn, r.link.attempt
	if request.ID == "" || r.pairing.busy || conn == nil || r.phase != scanning {
		return
	}
	r.pairing.request, r.pairing.answered, r.pairing.busy = store.CodeRequest{}, request.ID, true
	ctx, cancel := context.WithTimeout(r.link.current.ctx, r.deps.Timing.PairPhone)
	r.writes.aside(func() {
		defer cancel()
		code, err := conn.PairPhone(ctx, request.Phone)
		r.post(codeMade{number, request, code, err})
	})
}

// onCodeMade passes the code on while a phone can use it. One of a connection
// that is gone is made again on the next.
func (r *Runner) onCodeMade(c codeMade) {
	r.pairing.busy = false
	switch {
	case r.jid != "":
		r.refuseCode(c.request, "the session is linked already")
	case c.attempt != r.link.attempt:
		if r.pairing.request.ID == "" {
			r.pairing.request, r.pairing.answered = c.request, ""
		}
	case c.err != nil:
		r.refuseCode(c.request, "WhatsApp gave no code: "+clean(c.err.Error()))
	default:
		until := r.pairing.until
		r.pairing.codesShown = true
		r.answer(c.request, c.code, "", func() time.Duration { return time.Until(until) })
	}
	r.askPhone()
}

func (r *Runner) refuseCode(request store.CodeRequest, problem string) {
	r.pairing.answered = request.ID
	if r.pairing.request.ID == request.ID {
		r.pairing.request = store.CodeRequest{}
	}
	r.answer(request, "", problem, func() time.Duration { return 0 })
}

// answer writes the answer; life is asked when it is written. A code that has
// run out by then is none, and must not be kept.
func (r *Runner) answer(request store.CodeRequest, code, problem string, life func() time.Duration) {
	r.writes.do("answer the request for a pairing code", func(ctx context.Context) error {
		left := life()
		if code != "" && left <= 0 {
			return r.deps.Store.AnswerCodeIfEpoch(ctx, r.term, request.ID, "", "the code ran out before it could be stored: ask for another", 0)
		}
		return r.deps.Store.AnswerCodeIfEpoch(ctx, r.term, request.ID, code, problem, left)
	}, nil)
}
