package startqueue_test

import (
	"context"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/wafleet/wafleet/shared/startqueue"
	"github.com/wafleet/wafleet/shared/startqueue/fakesqs"
)

func (w *world) sender() *startqueue.Sender { return startqueue.NewSender(w.opened, w, w.logger()) }

// hint sends one and returns how long that took.
func (w *world) hint(s *startqueue.Sender) time.Duration {
	began := time.Now()
	s.Hint(w.Context(), idA, 1)
	return time.Since(began)
}

func TestAHintIsSent(t *testing.T) {
	simulate(t, func(w *world) {
		w.sender().Hint(w.Context(), idA, 7)
		w.wantQueue(`{"session":"` + string(idA) + `","generation":7}`)
		w.want(map[string]int{"sent": 1})
		w.wantCalls("SendMessage", 1)
	})
}

// The start is committed, whoever waits for its answer.
func TestAHintIsSentWithoutItsCaller(t *testing.T) {
	simulate(t, func(w *world) {
		ctx, cancel := context.WithCancel(w.Context())
		cancel()
		w.sender().Hint(ctx, idA, 1)
		w.want(map[string]int{"sent": 1})
	})
}

func TestAQueueThatNeverAnswersCostsItsBudget(t *testing.T) {
	simulate(t, func(w *world) {
		w.server.Breaks("SendMessage", fakesqs.IsSilent)
		s := w.sender()
		for range 3 {
			if took := w.hint(s); took != startqueue.Budget {
				w.Errorf("took %v", took)
			}
		}
		w.want(map[string]int{"failed": 3})
		if took := w.hint(s); took != 0 {
			w.Errorf("the fourth took %v", took)
		}
		w.want(map[string]int{"failed": 3, "skipped": 1})

		// For an hour, a start every second.
		var slowest, all time.Duration
		for range 3600 {
			took := w.hint(s)
			slowest, all = max(slowest, took), all+took
			time.Sleep(time.Second - took)
		}
		if n := w.server.Calls("SendMessage"); slowest != startqueue.Budget || n < 3600/31 || n > 3600/3+20 || all > time.Duration(n)*startqueue.Budget {
			w.Errorf("%d calls in an hour took %v, the slowest %v", n, all, slowest)
		}
		if n := w.log.lines(); n < 30 || n > 61 {
			w.Errorf("%d lines in the log", n)
		}
		if log := w.log.String(); !strings.Contains(log, `"reason":"timeout"`) || strings.Contains(log, string(idA)) || strings.Contains(log, "AKIDEXAMPLE") {
			w.Errorf("log %.500s", log)
		}

		// Within half a minute of the end of the trouble all is well.
		w.server.Breaks("SendMessage", nil)
		time.Sleep(31 * time.Second)
		for range 3 {
			w.hint(s)
		}
		if n := len(w.queue.Bodies()); n != 3 {
			w.Errorf("%d of 3 were sent", n)
		}
	})
}

// A queue that is only slow now and then is not given up.
func TestSingleFailuresDoNotOpenTheBreaker(t *testing.T) {
	simulate(t, func(w *world) {
		s := w.sender()
		for range 10 {
			w.server.Breaks("SendMessage", fakesqs.IsSilent)
			w.hint(s)
			w.hint(s)
			w.server.Breaks("SendMessage", nil)
			w.hint(s)
		}
		w.want(map[string]int{"sent": 10, "failed": 20})
	})
}

// One of many finds out whether it works again.
func TestOneHintAtATimeTries(t *testing.T) {
	simulate(t, func(w *world) {
		w.server.Breaks("SendMessage", fakesqs.IsSilent)
		s := w.sender()
		for range 3 {
			w.hint(s)
		}
		time.Sleep(time.Minute)
		var all sync.WaitGroup
		for range 50 {
			all.Go(func() { s.Hint(w.Context(), idA, 1) })
		}
		all.Wait()
		w.want(map[string]int{"failed": 4, "skipped": 49})
	})
}

func TestErrorsAreCounted(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		fault  fakesqs.Fault
		reason string
		calls  int
	}{
		"denied":      {fakesqs.Refuses("AccessDeniedException"), "AccessDeniedException", 1},
		"no queue":    {fakesqs.Refuses("QueueDoesNotExist"), "NonExistentQueue", 1},
		"down":        {fakesqs.IsDown, "ServiceUnavailable", 2},
		"unreachable": {fakesqs.HangsUp, "network", 2},
		"nonsense": {func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(http.StatusOK)
			_, _ = w.Write([]byte("<html>secret"))
		}, "network", 1},
	} {
		t.Run(name, func(t *testing.T) {
			simulate(t, func(w *world) {
				w.server.Breaks("SendMessage", c.fault)
				if took := w.hint(w.sender()); took > 50*time.Millisecond {
					w.Errorf("took %v", took)
				}
				w.want(map[string]int{"failed": 1})
				w.wantCalls("SendMessage", c.calls)
				if log := w.log.String(); w.log.lines() != 1 || !strings.Contains(log, c.reason) || strings.Contains(log, "secret") {
					w.Errorf("log %s", log)
				}
			})
		})
	}
}

// A connection that was kept open and is closed by now is no failure.
func TestASecondAttemptFitsIn(t *testing.T) {
	simulate(t, func(w *world) {
		w.server.Breaks("SendMessage", func(rw http.ResponseWriter, r *http.Request) {
			w.server.Breaks("SendMessage", nil)
			fakesqs.HangsUp(rw, r)
		})
		if took := w.hint(w.sender()); took > 50*time.Millisecond {
			w.Errorf("took %v", took)
		}
		w.want(map[string]int{"sent": 1})
		w.wantQueue(hintOf(idA))
	})
}

// Over a real network: one connection serves all, and one that is silent is left
// after the budget.
func TestSendingOverANetwork(t *testing.T) {
	fake := fakesqs.New()
	fake.Queue("starts", fakesqs.Settings{})
	server := httptest.NewUnstartedServer(fake)
	var connections atomic.Int32
	server.Config.ConnState = func(_ net.Conn, state http.ConnState) {
		if state == http.StateNew {
			connections.Add(1)
		}
	}
	server.Start()
	defer server.Close()
	for _, line := range fakesqs.Environment(server.URL) {
		name, value, _ := strings.Cut(line, "=")
		t.Setenv(name, value)
	}
	opened, err := startqueue.Open(t.Context(), fakesqs.URL(server.URL, "starts"))
	if err != nil {
		t.Fatal(err)
	}
	w := &world{T: t, counts: map[string]int{}}
	s := startqueue.NewSender(opened, w, w.logger())
	for range 20 {
		s.Hint(t.Context(), idA, 1)
	}
	w.want(map[string]int{"sent": 20})
	if n := connections.Load(); n != 1 {
		t.Errorf("%d connections", n)
	}
	fake.Breaks("SendMessage", fakesqs.IsSilent)
	if took := w.hint(s); took < startqueue.Budget || took > 10*startqueue.Budget {
		t.Errorf("took %v", took)
	}
	w.want(map[string]int{"sent": 20, "failed": 1})
}
