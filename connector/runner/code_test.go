package runner

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/wafleet/wafleet/connector/event"
	"github.com/wafleet/wafleet/shared/session"
	"github.com/wafleet/wafleet/shared/store"
)

// ask is a wish for a pairing code.
func (w *world) ask(request, phone string) {
	c := wants(1, "running")
	c.Request = &store.CodeRequest{ID: request, Phone: session.Phone("49151000000" + phone)}
	w.tell(c)
}

func TestACodeIsMadeOnceCodesAreShown(t *testing.T) {
	t.Parallel()
	simulate(t, func(w *world) {
		w.start()
		w.ask("r1", "01")
		w.ask("r1", "01") // found again at every poll
		w.want("dial 1 new")
		w.say(sixCodes)
		w.want(shown, shownNow, "phone 4915100000001", "answer r1 ABCD-1234")
		w.ask("r1", "01")
		w.want()
		w.ask("r2", "02")
		w.want("phone 4915100000002", "answer r2 ABCD-1234")
	})
}

const shownNow = "SCAN_QR_CODE"

// Codes may be shown before the loop has heard of the connection.
func TestACodeWaitsForTheConnection(t *testing.T) {
	t.Parallel()
	simulate(t, func(w *world) {
		w.onDial = func(context.Context, int) error { time.Sleep(time.Second); return nil }
		w.start()
		w.say(sixCodes)
		w.ask("r1", "01")
		w.want("dial 1 new", shown, shownNow)
		w.after(time.Second)
		w.want("phone 4915100000001", "answer r1 ABCD-1234")
	})
}

func TestANewRequestWaitsForTheOneUnderWay(t *testing.T) {
	t.Parallel()
	simulate(t, func(w *world) {
		w.onPhone = func(context.Context) (string, error) { time.Sleep(time.Second); return "ABCD-1234", nil }
		w.start()
		w.say(sixCodes)
		w.take()
		w.ask("r1", "01")
		w.ask("r2", "02")
		w.ask("r3", "03") // in place of r2
		w.want("phone 4915100000001")
		w.after(time.Second)
		w.wantAll("answer r1 ABCD-1234", "phone 4915100000003")
		w.after(time.Second)
		w.want("answer r3 ABCD-1234")
	})
}

func TestWhatsAppMayRefuseOrForgetARequest(t *testing.T) {
	t.Parallel()
	for name, phone := range map[string]func(context.Context) (string, error){
		"refuse": func(context.Context) (string, error) { return "", errors.New("429: rate of 49151000000001") },
		"forget": func(ctx context.Context) (string, error) {
			<-ctx.Done()
			return "", errors.New("429: rate of [number]")
		},
	} {
		t.Run(name, func(t *testing.T) {
			simulate(t, func(w *world) {
				w.onPhone = phone
				w.start()
				w.say(sixCodes)
				w.take()
				w.ask("r1", "01")
				w.after(10 * time.Second)
				w.want("phone 4915100000001", "answer r1 !WhatsApp gave no code: 429: rate of [number]")
			})
		})
	}
}

func TestALinkedSessionNeedsNoCode(t *testing.T) {
	t.Parallel()
	simulate(t, func(w *world) {
		w.start(linked)
		w.say(event.Connected{})
		w.take()
		w.ask("r1", "01")
		w.ask("r1", "01")
		w.want("answer r1 !the session is linked already")
	})
}

// A scan may win against a code that is being made, and against a request that
// waits: no code is written for a device that is linked.
func TestAScanWinsAgainstACode(t *testing.T) {
	t.Parallel()
	simulate(t, func(w *world) {
		w.onPhone = func(context.Context) (string, error) { time.Sleep(time.Second); return "ABCD-1234", nil }
		w.start()
		w.say(sixCodes)
		w.ask("r1", "01")
		w.ask("r2", "02")
		w.say(event.Paired{JID: jid})
		w.take()
		w.after(time.Second)
		w.want("answer r1 !the session is linked already")
		w.ask("r2", "02")
		w.ask("r2", "02")
		w.want("answer r2 !the session is linked already")
		w.say(event.ReconnectNeeded{})
		w.say(event.Connected{})
		w.after(time.Hour)
		w.want("close 1", "dial 2 "+jid, "WORKING")
	})
}

// A code that was made on a connection that is gone is useless; the next
// connection makes another.
func TestACodeIsMadeAgainOnTheNextConnection(t *testing.T) {
	t.Parallel()
	simulate(t, func(w *world) {
		w.onPhone = func(ctx context.Context) (string, error) {
			select {
			case <-ctx.Done():
				return "", ctx.Err()
			case <-time.After(5 * time.Second):
				return "ABCD-1234", nil
			}
		}
		w.start()
		w.say(sixCodes)
		w.ask("r1", "01")
		w.say(event.Disconnected{})
		w.ask("r1", "01")
		w.pause()
		w.take()
		w.say(sixCodes)
		w.want(shown, shownNow, "phone 4915100000001")
		w.after(5 * time.Second)
		w.want("answer r1 ABCD-1234")
		w.say(event.Disconnected{})
		if got := w.take(); !slices.Contains(got, "clear") {
			t.Errorf("the code stays: %q", got)
		}
	})
}

// The same where the next connection links before it can make one.
func TestARequestThatWasPutBackIsAnswered(t *testing.T) {
	t.Parallel()
	simulate(t, func(w *world) {
		w.onPhone = func(ctx context.Context) (string, error) { <-ctx.Done(); return "", ctx.Err() }
		w.start()
		w.say(sixCodes)
		w.ask("r1", "01")
		w.say(event.Disconnected{})
		w.pause()
		w.say(event.Paired{JID: jid}) // its codes are not even written
		w.take()
		w.ask("r1", "01")
		w.ask("r1", "01")
		w.want("answer r1 !the session is linked already")
	})
}

// The life of a code is counted when it is written, not when it is asked for.
func TestACodeLivesAsLongAsTheCodesShown(t *testing.T) {
	t.Parallel()
	simulate(t, func(w *world) {
		w.onPhone = func(context.Context) (string, error) { time.Sleep(9 * time.Second); return "ABCD-1234", nil }
		w.start()
		w.say(sixCodes)
		w.set(func() { w.onWrite = once(unavailable(t.Context(), "")) })
		w.after(100 * time.Second)
		w.ask("r1", "01")
		w.after(10 * time.Second)
		life := get(w, &w.life)
		if life > 51*time.Second || life < 50*time.Second {
			t.Errorf("the code lives for %v", life)
		}
		if n := strings.Count(strings.Join(w.take(), " "), "answer"); n != 2 {
			t.Errorf("%d attempts to write the answer", n)
		}
	})
}

// A code that ran out while the database was away is not kept.
func TestACodeThatRanOutIsNotStored(t *testing.T) {
	t.Parallel()
	simulate(t, func(w *world) {
		w.start()
		w.say(sixCodes)
		w.take()
		until := time.Now().Add(time.Second)
		w.set(func() { w.onWrite = unavailable })
		w.r.answer(store.CodeRequest{ID: "r1"}, "ABCD-1234", "", func() time.Duration { return time.Until(until) })
		w.after(5 * time.Second)
		if got := w.take(); len(got) < 2 || got[0] != "answer r1 ABCD-1234" {
			t.Fatalf("%q", got)
		}
		w.set(func() { w.onWrite = nil })
		w.after(5 * time.Second)
		w.want("answer r1 !the code ran out before it could be stored: ask for another")
	})
}
