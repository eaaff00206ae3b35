package startqueue

import (
	"context"
	"log/slog"
	"time"

	"golang.org/x/time/rate"

	"github.com/wafleet/wafleet/shared/session"
)

// Budget is what a hint may cost a request, in all.
const Budget = 300 * time.Millisecond

// logPause is how often the same trouble is logged; metrics count all of it.
const logPause = time.Minute

// SendObserver counts hints, for metrics.
type SendObserver interface {
	HintSent()
	HintFailed()
	HintSkipped() // not tried, because others failed
}

// Sender sends hints. It is safe for concurrent use.
type Sender struct {
	queue    *Queue
	observer SendObserver
	log      *slog.Logger
	breaker  breaker
	complain rate.Sometimes
}

// NewSender returns a sender of hints into a queue.
func NewSender(queue *Queue, observer SendObserver, log *slog.Logger) *Sender {
	return &Sender{queue: queue, observer: observer, log: log, complain: rate.Sometimes{Interval: logPause}}
}

// Hint says that a session wants a connector. It takes [Budget] at most, and has
// no error: whether it arrives is nobody's concern. It is sent also where the
// caller has gone, for the start has been committed.
func (s *Sender) Hint(ctx context.Context, id session.ID, generation session.Generation) {
	if !s.breaker.enter() {
		s.observer.HintSkipped()
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), Budget)
	defer cancel()
	err := s.queue.send(ctx, hint{id, generation}.String())
	s.breaker.leave(err == nil)
	if err == nil {
		s.observer.HintSent()
		return
	}
	s.observer.HintFailed()
	s.complain.Do(func() {
		s.log.WarnContext(ctx, "a start hint was not sent; connectors find the session by themselves, and further failures are only counted", "reason", wordOf(err))
	})
}
