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

	deviceSaved bool // the linked device is in the database
	mayRelink   bool // WhatsApp asked to reconnect
}

// codesStored says that a set of codes can be read by the API.
type codesStored struct {
	attempt int
	codes   session.QRCodes
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
	}, func(error) message { return codesStored{attempt, codes} })
}

func (r *Runner) onCodesStored(c codesStored) {
	if c.attempt != r.link.attempt || !r.phase.mayMove(scanning) {
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
	if !r.move(linking, reason{}) {
		return
	}
	r.jid = e.JID
	r.log.Info("device linked")
	r.setTimer(r.deps.Timing.Link)
	r.writes.do("record the device", func(ctx context.Context) error {
		return r.deps.Store.SetDeviceIfEpoch(ctx, r.deps.Me, r.term, e.JID)
	}, func(err error) message { return deviceStored{err} })
	r.dropCodes()
}

func (r *Runner) onDeviceStored(d deviceStored) {
	if errors.Is(d.err, session.ErrDeviceTaken) {
		r.jid = ""
		r.fail(session.PairError, "the device already belongs to another session")
		return
	}
	r.pairing.deviceSaved = true
	if r.pairing.mayRelink {
		r.relink()
	}
}

func (r *Runner) onReconnectNeeded() {
	if r.phase != linking {
		return
	}
	r.pairing.mayRelink = true
	r.relink()
}

// relink logs in with the new device, once it is recorded. WhatsApp's request
// to reconnect can be lost with the connection, so its deadline leads here too.
func (r *Runner) relink() {
	r.pairing.mayRelink = true
	if r.pairing.deviceSaved {
		r.reconnect()
	}
}

// codeMade says that a request for a pairing code is answered.
type codeMade struct{}

// onCodeRequest keeps the wish until QR codes are shown: only then does
// WhatsApp hand out pairing codes.
func (r *Runner) onCodeRequest(request store.CodeRequest) {
	if request.ID == r.pairing.answered || request == r.pairing.request {
		return
	}
	if r.jid != "" {
		r.pairing.answered = request.ID
		r.answer(request.ID, "", "the session is linked already", 0)
		return
	}
	r.pairing.request = request
	r.askPhone()
}

// askPhone makes a pairing code if one is wished for and possible now.
func (r *Runner) askPhone() {
	request, conn := r.pairing.request, r.link.conn
	if request.ID == "" || r.pairing.busy || conn == nil || r.phase != scanning {
		return
	}
	r.pairing.request, r.pairing.answered, r.pairing.busy = store.CodeRequest{}, request.ID, true
	life := time.Until(r.pairing.until)
	r.writes.aside(func() {
		ctx, cancel := context.WithTimeout(r.link.ctx, r.deps.Timing.PairPhone)
		defer cancel()
		code, err := conn.PairPhone(ctx, request.Phone)
		problem := ""
		if err != nil {
			problem = "WhatsApp gave no code: " + clean(err.Error())
		}
		r.answer(request.ID, code, problem, life)
		r.post(codeMade{})
	})
}

// answer may be called from any goroutine.
func (r *Runner) answer(request, code, problem string, life time.Duration) {
	r.writes.do("answer the request for a pairing code", func(ctx context.Context) error {
		return r.deps.Store.AnswerCodeIfEpoch(ctx, r.term, request, code, problem, life)
	}, nil)
}
