package startqueue

import (
	"context"
	"log/slog"
	"slices"
	"time"

	"golang.org/x/time/rate"

	"github.com/wafleet/wafleet/shared/backoff"
	"github.com/wafleet/wafleet/shared/session"
)

const (
	// longPoll is the longest that SQS has.
	longPoll = 20 * time.Second
	// pollSlack is how much longer an answer may take before the connection counts
	// as dead.
	pollSlack = 10 * time.Second
	// maxBatch is how many messages SQS hands out at most.
	maxBatch = 10
	// settleTimeout bounds the calls after the claim, which may come after the end
	// of the receiver.
	settleTimeout = 2 * time.Second
	// maxReceives is how often a hint is received in all, until it is too old to be
	// of use.
	maxReceives = 3
)

var (
	// errorPause is after calls that failed.
	errorPause = backoff.Policy{Base: time.Second, Max: 20 * time.Second}
	// passPause is after messages were let go on to others.
	passPause = backoff.Policy{Base: time.Second, Max: 5 * time.Second}
)

// Claimer is a connector.
type Claimer interface {
	// AwaitRoom waits until the connector can take sessions. It returns how many,
	// and a context that ends when it can take none any more; or ctx's error.
	AwaitRoom(ctx context.Context) (n int, room context.Context, err error)
	// ClaimNamed claims what it may of the sessions and returns those that still
	// wait for another connector.
	ClaimNamed(ctx context.Context, ids []session.ID) (waiting []session.ID, err error)
}

// ReceiveObserver counts what comes out of a queue, for metrics.
type ReceiveObserver interface {
	QueueReceived(messages int) // a call that succeeded
	QueueMessages(fate string, n int)
	QueueFailed(call string) // receive, delete or return
}

// Fates of received messages.
const (
	deleted  = "deleted"  // handled, or of no use any more
	returned = "returned" // for another connector
	poison   = "poison"   // no hint; left for SQS to move to the dead letters
)

// Receiver receives hints for a connector.
type Receiver struct {
	queue    *Queue
	observer ReceiveObserver
	log      *slog.Logger
	complain map[string]*rate.Sometimes // by message of the log; only Run's goroutine touches it
}

// NewReceiver returns a receiver of hints from a queue; Run runs it.
func NewReceiver(queue *Queue, observer ReceiveObserver, log *slog.Logger) *Receiver {
	return &Receiver{queue: queue, observer: observer, log: log, complain: map[string]*rate.Sometimes{}}
}

// Run receives hints and has a connector claim what they name, until ctx ends;
// then it returns nil, at once but for a call that is to settle what was
// received. One goroutine at a time may run it.
func (r *Receiver) Run(ctx context.Context, claimer Claimer) error {
	var failures, passes int // in a row
	for {
		n, room, err := claimer.AwaitRoom(ctx)
		if err != nil {
			return nil // ctx has ended
		}
		received, err := r.receive(ctx, room, n)
		switch {
		case ctx.Err() != nil && len(received) == 0:
			return nil
		case err != nil && room.Err() != nil: // cut short
		case err != nil:
			failures++
			r.failed("receive", "start hints could not be received; trying again, and polling goes on", err)
			wait(ctx, errorPause.Pause(failures))
		case r.handle(ctx, claimer, received):
			failures = 0
			passes++
			wait(ctx, passPause.Pause(passes))
		default:
			failures, passes = 0, 0
		}
	}
}

// receive is one long poll, which ends with the room.
func (r *Receiver) receive(ctx, room context.Context, n int) ([]message, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(room, cancel)()
	received, err := r.queue.receive(ctx, min(n, maxBatch), longPoll)
	if err == nil {
		r.observer.QueueReceived(len(received))
	}
	return received, err
}

// handle has the sessions claimed, settles the messages, and reports whether
// some were let go.
func (r *Receiver) handle(ctx context.Context, claimer Claimer, received []message) (passed bool) {
	messages, ids := r.parse(received)
	if len(ids) == 0 {
		return false
	}
	waiting, err := claimer.ClaimNamed(ctx, ids)
	if err != nil {
		waiting = ids // whatever it was, it is not done
	}
	var done, others []message
	for _, n := range messages {
		switch waits := slices.Contains(waiting, n.session); {
		case waits && n.receives < maxReceives:
			others = append(others, n.message)
		default:
			done = append(done, n.message)
		}
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), settleTimeout)
	defer cancel()
	r.settle(ctx, deleted, "delete", done, r.queue.remove)
	r.settle(ctx, returned, "return", others, r.queue.show)
	return len(waiting) > 0
}

// named is a message that names a session.
type named struct {
	message
	session session.ID
}

// parse returns the messages that name a session, and the sessions.
func (r *Receiver) parse(received []message) (messages []named, ids []session.ID) {
	for _, m := range received {
		h, err := parseHint(m.body)
		if err != nil {
			r.observer.QueueMessages(poison, 1)
			r.sometimes("a message in the queue is no start hint; SQS moves it to the dead letters", "receives", m.receives)
			continue
		}
		messages = append(messages, named{m, h.Session})
		if !slices.Contains(ids, h.Session) {
			ids = append(ids, h.Session)
		}
	}
	return messages, ids
}

// settle is the last call about messages. Where it fails they come again.
func (r *Receiver) settle(ctx context.Context, fate string, call string, messages []message, do func(context.Context, []message) error) {
	if len(messages) == 0 {
		return
	}
	r.observer.QueueMessages(fate, len(messages))
	if err := do(ctx, messages); err != nil {
		r.failed(call, "start hints could not be settled; they come again", err)
	}
}

func (r *Receiver) failed(call, text string, err error) {
	r.observer.QueueFailed(call)
	r.sometimes(text, "reason", wordOf(err))
}

// sometimes logs each kind of trouble once a minute.
func (r *Receiver) sometimes(text string, attributes ...any) {
	if r.complain[text] == nil {
		r.complain[text] = &rate.Sometimes{Interval: logPause}
	}
	r.complain[text].Do(func() { r.log.Warn(text, attributes...) })
}

func wait(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-timer.C:
	}
}
