package startqueue_test

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/wafleet/wafleet/shared/session"
	"github.com/wafleet/wafleet/shared/startqueue"
	"github.com/wafleet/wafleet/shared/startqueue/fakesqs"
)

func TestAHintIsClaimedAndDeleted(t *testing.T) {
	simulate(t, func(w *world) {
		c := newConnector(5)
		w.receive(c)
		began := time.Now()
		w.sender().Hint(w.Context(), idA, 1)
		synctest.Wait()
		if took := time.Since(began); took != 0 {
			w.Errorf("took %v", took)
		}
		w.wantAsked(c, ids(idA))
		w.wantQueue()
		w.want(map[string]int{"sent": 1, "received": 1, "deleted": 1})
	})
}

func TestAnIdleConnectorCostsThreeCallsAMinute(t *testing.T) {
	simulate(t, func(w *world) {
		w.receive(newConnector(5))
		w.after(10*time.Minute - 1)
		w.wantCalls("ReceiveMessage", 30)
		w.wantCalls("DeleteMessageBatch", 0)
		w.want(map[string]int{})
	})
}

func TestOneCallDeletesWhatOneCallReceived(t *testing.T) {
	simulate(t, func(w *world) {
		for range 2 { // SQS delivers at least once
			for _, id := range ids(idA, idB, idC) {
				w.queue.Put(hintOf(id))
			}
		}
		c := newConnector(50)
		w.receive(c)
		w.wantAsked(c, ids(idA, idB, idC))
		w.wantQueue()
		w.wantCalls("DeleteMessageBatch", 1)
		w.want(map[string]int{"received": 6, "deleted": 6})
	})
}

// No more is received than can be connected at once.
func TestAReceiverTakesWhatFits(t *testing.T) {
	simulate(t, func(w *world) {
		for i := range 30 {
			w.queue.Put(hintOf(session.ID(fmt.Sprintf("0190f5fe-7c00-7a00-8000-0000000000%02d", i))))
		}
		c := newConnector(2)
		c.claimed = func() { c.free = 50 }
		w.receive(c)
		c.mu.Lock()
		defer c.mu.Unlock()
		if len(c.asked) != 4 || len(c.asked[0]) != 2 || len(c.asked[1]) != 10 {
			w.Errorf("%d calls: %v", len(c.asked), c.asked)
		}
	})
}

// Rows are the truth: whatever has no job that waits is done with.
func TestHintsOfNoUseAreDeleted(t *testing.T) {
	simulate(t, func(w *world) {
		const future = `{"session":"` + string(idB) + `","generation":9,"later":{"x":1}}`
		w.queue.Put(hintOf(idA)) // of a stopped session, say: ClaimNamed knows no job
		w.queue.Put(future)
		c := newConnector(5)
		w.receive(c)
		w.wantAsked(c, ids(idA, idB))
		w.wantQueue()
		w.after(time.Hour)
		w.want(map[string]int{"received": 2, "deleted": 2})
	})
}

func TestPoisonBecomesADeadLetter(t *testing.T) {
	simulate(t, func(w *world) {
		poison := []string{
			"x", "{}", "[]", "null", `"` + string(idA) + `"`, `{"session":"` + string(idA) + `"}`, `{"session":"` + string(idA) + `","generation":0}`,
			`{"session":"` + string(idA) + `","generation":"1"}`, `{"session":"","generation":1}`, `{"session":"a; DROP TABLE session","generation":1}`,
			`{"session":"urn:uuid:` + string(idA) + `","generation":1}`, `{"session":7,"generation":1}`,
		}
		for _, body := range poison {
			w.queue.Put(body)
		}
		w.queue.Put(hintOf(idB))
		c := newConnector(50)
		w.receive(c)
		w.wantAsked(c, ids(idB))
		w.after(10 * time.Minute)
		w.wantAsked(c, ids(idB))
		w.wantQueue()
		if n := len(w.dead.Bodies()); n != len(poison) {
			w.Errorf("%d dead letters, want %d: %q", n, len(poison), w.dead.Bodies())
		}
		w.want(map[string]int{"received": 5*len(poison) + 1, "poison": 5 * len(poison), "deleted": 1})
		if log := w.log.String(); w.log.lines() > 3 || !strings.Contains(log, "is no start hint") || strings.Contains(log, "DROP") {
			w.Errorf("%s", log)
		}
	})
}

func TestWithoutRoomNothingIsReceived(t *testing.T) {
	simulate(t, func(w *world) {
		w.queue.Put(hintOf(idA))
		c := newConnector(0)
		w.receive(c)
		w.after(time.Hour)
		w.wantCalls("ReceiveMessage", 0)

		c.setFree(1)
		w.after(time.Second)
		w.wantAsked(c, ids(idA))
		w.wantCalls("ReceiveMessage", 2)
		if n := w.queue.Polls(); n != 1 {
			w.Errorf("%d polls", n)
		}

		// The last slot is taken: the poll ends, and what comes now is for others.
		c.setFree(0)
		synctest.Wait()
		if n := w.queue.Polls(); n != 0 {
			w.Errorf("%d polls without room", n)
		}
		w.queue.Put(hintOf(idB))
		w.after(time.Hour)
		w.wantCalls("ReceiveMessage", 2)
		if w.queue.Hidden() != 0 || w.log.lines() != 0 {
			w.Errorf("%d hidden, log %s", w.queue.Hidden(), w.log.String())
		}
		w.want(map[string]int{"received": 1, "deleted": 1})
	})
}

func TestTheEndOfIntakeEndsThePoll(t *testing.T) {
	simulate(t, func(w *world) {
		leave := w.receive(newConnector(5))
		w.after(3 * time.Second)
		began := time.Now()
		leave()
		if took := time.Since(began); took != 0 || w.queue.Polls() != 0 {
			w.Errorf("took %v, %d polls", took, w.queue.Polls())
		}
		if w.log.lines() != 0 {
			w.Error(w.log.String())
		}
		w.want(map[string]int{})
	})
}

// Whoever leaves while it claims gives the message back.
func TestTheEndOfIntakeInAClaim(t *testing.T) {
	simulate(t, func(w *world) {
		c := newConnector(5)
		ctx, cancel := context.WithCancel(w.Context())
		c.claimed = cancel
		out := make(chan error, 1)
		go func() { out <- startqueue.NewReceiver(w.opened, w, w.logger()).Run(ctx, c) }()
		synctest.Wait()
		w.queue.Put(hintOf(idA))
		if err := <-out; err != nil {
			w.Error(err)
		}
		w.want(map[string]int{"received": 1, "returned": 1})
		other := newConnector(5)
		w.receive(other)
		w.wantAsked(other, ids(idA))
	})
}

func TestWhatDoesNotFitGoesToAnother(t *testing.T) {
	simulate(t, func(w *world) {
		full, free := newConnector(5), newConnector(5)
		full.waits[idA] = true
		w.receive(full)
		w.queue.Put(hintOf(idA))
		synctest.Wait()
		w.wantAsked(full, ids(idA))
		w.wantQueue(hintOf(idA))
		if w.queue.Hidden() != 0 {
			w.Error("it is hidden from the others")
		}
		w.receive(free)
		w.wantAsked(free, ids(idA))
		w.wantQueue()
		w.want(map[string]int{"received": 2, "returned": 1, "deleted": 1})
	})
}

// A hint goes round a few times at most, slowly, and is no dead letter.
func TestAHintThatNobodyTakesEnds(t *testing.T) {
	simulate(t, func(w *world) {
		c := newConnector(5)
		c.waits[idA], c.waits[idB] = true, true
		w.receive(c)
		w.queue.Put(hintOf(idA))
		w.queue.Put(hintOf(idB))
		w.after(time.Minute)
		w.wantQueue()
		if letters := w.dead.Bodies(); len(letters) != 0 {
			w.Errorf("dead letters %q", letters)
		}
		if n := w.server.Calls("ReceiveMessage"); n > 10 {
			w.Errorf("%d calls in a minute", n)
		}
		w.want(map[string]int{"received": 6, "returned": 4, "deleted": 2})
	})
}

func TestADatabaseOutOfReachLosesNoHint(t *testing.T) {
	simulate(t, func(w *world) {
		c := newConnector(5)
		c.down = session.ErrUnavailable
		w.receive(c)
		w.queue.Put(hintOf(idA))
		synctest.Wait()
		w.wantQueue(hintOf(idA))
		c.set(func() { c.down = nil })
		w.after(5 * time.Second)
		w.wantAsked(c, ids(idA), ids(idA))
		w.wantQueue()
		w.want(map[string]int{"received": 2, "returned": 1, "deleted": 1})
	})
}

func TestAQueueOutOfOrderIsTriedAgain(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		fault     fakesqs.Fault
		low, high int // calls in an hour
		reason    string
	}{
		"down":    {fakesqs.IsDown, 180, 500, "ServiceUnavailable"},
		"denied":  {fakesqs.Refuses("AccessDeniedException"), 180, 500, "AccessDeniedException"},
		"gone":    {fakesqs.Refuses("QueueDoesNotExist"), 180, 500, "NonExistentQueue"},
		"network": {fakesqs.HangsUp, 180, 500, "network"},
		"silent":  {fakesqs.IsSilent, 70, 120, "timeout"}, // 30 s each, and the pauses
	} {
		t.Run(name, func(t *testing.T) {
			simulate(t, func(w *world) {
				w.server.Breaks("", c.fault)
				receives := newConnector(5)
				w.receive(receives)
				w.after(time.Hour)
				calls := w.server.Calls("ReceiveMessage")
				if calls < c.low || calls > c.high {
					w.Errorf("%d calls in an hour", calls)
				}
				if n := w.log.lines(); n > 61 || !strings.Contains(w.log.String(), c.reason) || strings.Contains(w.log.String(), "AKIDEXAMPLE") {
					w.Errorf("%d lines, such as %.300s", n, w.log.String())
				}
				w.mu.Lock()
				if failed := w.counts["receive failed"]; failed < calls-1 || failed > calls || len(w.counts) != 1 {
					w.Errorf("%d calls, counted %v", calls, w.counts)
				}
				w.mu.Unlock()
				w.server.Breaks("", nil)
				w.after(time.Minute)
				w.queue.Put(hintOf(idA))
				synctest.Wait()
				w.wantAsked(receives, ids(idA))
			})
		})
	}
}

// A message that could not be deleted comes again and is harmless.
func TestADeleteThatFails(t *testing.T) {
	simulate(t, func(w *world) {
		w.server.Breaks("DeleteMessageBatch", fakesqs.IsDown)
		c := newConnector(5)
		w.receive(c)
		w.queue.Put(hintOf(idA))
		w.after(10 * time.Second)
		w.wantQueue(hintOf(idA))
		w.server.Breaks("DeleteMessageBatch", nil)
		w.after(10 * time.Second)
		w.wantAsked(c, ids(idA), ids(idA))
		w.wantQueue()
		w.want(map[string]int{"received": 2, "deleted": 2, "delete failed": 1})
	})
}

// SQS may refuse single entries of a batch.
func TestAnEntryThatIsRefusedIsCounted(t *testing.T) {
	simulate(t, func(w *world) {
		w.server.Breaks("DeleteMessageBatch", func(rw http.ResponseWriter, _ *http.Request) {
			rw.Header().Set("Content-Type", "application/x-amz-json-1.0")
			_, _ = rw.Write([]byte(`{"Successful":[],"Failed":[{"Id":"0","SenderFault":true,"Code":"ReceiptHandleIsInvalid"}]}`))
		})
		w.receive(newConnector(5))
		w.queue.Put(hintOf(idA))
		synctest.Wait()
		w.want(map[string]int{"received": 1, "deleted": 1, "delete failed": 1})
		if !strings.Contains(w.log.String(), "ReceiptHandleIsInvalid") {
			w.Error(w.log.String())
		}
	})
}

// hintsGoThrough is part of the contract: whatever the fake does with the
// calls of this package, an emulator does.
func hintsGoThrough(s *side) {
	url, letters := s.makeWith(4)
	transport := &http.Transport{}
	defer transport.CloseIdleConnections()
	opened, err := startqueue.OpenWith(settings(&http.Client{Transport: transport}), strings.Replace(s.base, "localhost", "127.0.0.1", 1)+pathOf(url))
	if err != nil {
		s.Fatal(err)
	}
	w := &world{T: s.T, counts: map[string]int{}}
	sender := startqueue.NewSender(opened, w, slog.New(slog.DiscardHandler))
	c := newConnector(5)
	asked := make(chan struct{}, 100)
	c.claimed = func() { asked <- struct{}{} }
	ctx, cancel := context.WithCancel(s.Context())
	out := make(chan error, 1)
	go func() { out <- startqueue.NewReceiver(opened, w, slog.New(slog.DiscardHandler)).Run(ctx, c) }()
	defer func() {
		cancel()
		if err := <-out; err != nil {
			s.Error(err)
		}
	}()

	s.send(url, "poison")
	for _, id := range ids(idA, idB) {
		sender.Hint(s.Context(), id, 1)
		select {
		case <-asked:
		case <-time.After(soon):
			s.Fatalf("%s was not received", id)
		}
	}
	c.set(func() { c.waits[idC] = true })
	sender.Hint(s.Context(), idC, 1)
	for range 3 {
		select {
		case <-asked:
		case <-time.After(3 * soon): // with the receiver's pauses
			s.Fatal("a hint that was let go did not come back")
		}
	}
	s.eventually("only the poison is left", func() bool {
		return s.attribute(url, "ApproximateNumberOfMessages") == "0" && s.attribute(url, "ApproximateNumberOfMessagesNotVisible") == "1"
	})
	w.want(map[string]int{"sent": 3, "received": 6, "poison": 1, "deleted": 3, "returned": 2})
	s.wantCounts(letters, 0, 0)
}

func pathOf(url string) string {
	_, rest, _ := strings.Cut(url, "://")
	return rest[strings.Index(rest, "/"):]
}

func (s *side) eventually(what string, right func() bool) {
	s.Helper()
	for deadline := time.Now().Add(soon); !right(); time.Sleep(20 * time.Millisecond) { // a server tells nobody
		if time.Now().After(deadline) {
			s.Fatalf("not within %v: %s", soon, what)
		}
	}
}
