package protect

import (
	"bytes"
	"context"
	"log/slog"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// world is a guard that runs beside an agent, in a bubble of fake time.
type world struct {
	*testing.T
	agent    *fakeAgent
	pairings atomic.Int64
	looks    atomic.Int64
	log      bytes.Buffer // read after end only
	stop     context.CancelFunc
	ended    chan struct{}
}

// inWorld runs a test in a bubble, and ends the guard after it.
func inWorld(t *testing.T, test func(*world)) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := &world{T: t, agent: newFakeAgent(t), ended: make(chan struct{})}
		network := newPipes()
		server := &http.Server{Handler: w.agent}
		served := make(chan error, 1)
		go func() { served <- server.Serve(network) }()
		defer func() {
			server.Close()
			<-served
		}()
		g := New("http://agent/api/c0ffee", w.pairing, slog.New(slog.NewTextHandler(&w.log, nil)))
		g.agent.client.Transport.(*http.Transport).DialContext = network.dial
		var ctx context.Context
		ctx, w.stop = context.WithCancel(t.Context())
		go func() {
			defer close(w.ended)
			if err := g.Run(ctx); err != nil {
				t.Errorf("Run: %v", err)
			}
		}()
		defer w.end()
		w.look()
		test(w)
	})
}

func (w *world) end() {
	w.stop()
	<-w.ended
}

func (w *world) pairing() int {
	w.looks.Add(1)
	return int(w.pairings.Load())
}

// look waits for the guard's next look.
func (w *world) look() {
	for before := w.looks.Load(); w.looks.Load() == before; {
		w.pass(lookEvery / 30)
	}
}

// pass lets time pass.
func (w *world) pass(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

// want checks that these were the requests since the last check: "+" protects,
// "-" releases.
func (w *world) want(requests string) []asked {
	w.Helper()
	got := w.agent.take()
	var seen strings.Builder
	for _, one := range got {
		if one.enabled {
			seen.WriteString("+")
		} else {
			seen.WriteString("-")
		}
		if want := map[bool]int{true: 5}[one.enabled]; one.minutes != want {
			w.Errorf("expires in %d minutes, want %d", one.minutes, want)
		}
	}
	if seen.String() != requests {
		w.Fatalf("requests %q, want %q: %v", seen.String(), requests, got)
	}
	return got
}

func TestProtectedWhileAPairingIsInProgressOnly(t *testing.T) {
	inWorld(t, func(w *world) {
		w.pass(10 * time.Minute)
		w.want("")
		w.pairings.Store(2)
		w.look()
		w.want("+")
		w.pairings.Store(1)
		w.pass(time.Minute)
		w.want("")
		w.pairings.Store(0)
		w.look()
		w.want("-")
		w.pass(10 * time.Minute)
		w.want("")
	})
}

func TestTheProtectionIsRenewedBeforeItPasses(t *testing.T) {
	inWorld(t, func(w *world) {
		w.pairings.Store(1)
		w.look()
		for range 14 * 60 {
			w.pass(time.Second)
			if !w.agent.protected() {
				w.Fatal("not protected while a session pairs")
			}
		}
		got := w.want("+++++++")
		for i := range got[1:] {
			if pause := got[i+1].at - got[i].at; pause < renewEvery || pause > renewEvery+2*lookEvery {
				w.Errorf("renewed after %v", pause)
			}
		}
	})
}

func TestAProcessThatAlwaysPairsDoesNotBlockDeploymentsForEver(t *testing.T) {
	inWorld(t, func(w *world) {
		w.pairings.Store(1)
		w.look()
		w.pass(longest - 2*lookEvery)
		w.want("++++++++")
		w.pass(4 * lookEvery)
		released := w.want("-")
		if at := released[0].at; at < longest || at > longest+3*lookEvery {
			w.Errorf("released after %v, want %v", at, longest)
		}
		w.pass(24 * time.Hour)
		w.want("")

		w.pairings.Store(0)
		w.look()
		w.want("")
		w.pairings.Store(1)
		w.look()
		w.pass(longest - 2*lookEvery)
		w.want("++++++++")
		w.end()
		if n := strings.Count(w.log.String(), "without a break"); n != 1 {
			w.Errorf("said %d times: %s", n, w.log.String())
		}
	})
}

func TestTheEndReleases(t *testing.T) {
	inWorld(t, func(w *world) {
		w.pairings.Store(1)
		w.look()
		w.want("+")
		w.end()
		w.want("-")
	})
}

func TestTheEndAsksForNothingWhereNothingIsHeld(t *testing.T) {
	inWorld(t, func(w *world) {
		w.pass(time.Minute)
		w.end()
		w.want("")
	})
}

// hang lets the agent read a request and never answer it.
func (w *world) hang() {
	w.agent.set(func(_ http.ResponseWriter, r *http.Request, do func()) {
		do()
		<-r.Context().Done()
	})
}

func TestAnAgentThatHangsDelaysTheEndOnlySoLong(t *testing.T) {
	inWorld(t, func(w *world) {
		w.pairings.Store(1)
		w.look()
		w.want("+")
		w.hang()
		began := time.Now()
		w.end()
		if took := time.Since(began); took != answerTimeout {
			w.Errorf("the end took %v, want %v", took, answerTimeout)
		}
		w.want("-")
	})
}

func TestTheEndDuringARequestReleasesWhatMayHaveBeenDone(t *testing.T) {
	inWorld(t, func(w *world) {
		w.hang()
		w.pairings.Store(1)
		w.look() // the request is under way
		w.want("+")
		w.agent.set(nil)
		w.end()
		w.want("-")
		if w.agent.protected() || w.log.Len() != 0 {
			w.Errorf("protected %t, log %s", w.agent.protected(), w.log.String())
		}
	})
}

func TestWhatMayHaveBeenDoneIsReleased(t *testing.T) {
	inWorld(t, func(w *world) {
		w.agent.set(func(w http.ResponseWriter, _ *http.Request, do func()) {
			do()
			w.WriteHeader(http.StatusGatewayTimeout)
		})
		w.pairings.Store(1)
		w.look()
		w.want("+")
		w.pairings.Store(0)
		w.agent.set(nil)
		w.look()
		w.want("-")
		if w.agent.protected() {
			w.Error("still protected")
		}
	})
}

func TestARefusalIsTriedAgainAndReleasesNothing(t *testing.T) {
	for name, status := range map[string]struct {
		code int
		body string
	}{
		"failure": {http.StatusOK, notValid},
		"error":   {http.StatusBadRequest, denied},
	} {
		t.Run(name, func(t *testing.T) {
			inWorld(t, func(w *world) {
				w.agent.says(status.code, status.body)
				w.pairings.Store(1)
				w.pass(10 * lookEvery)
				if n := len(w.agent.take()); n < 9 || n > 12 {
					w.Errorf("asked %d times in 10 looks", n)
				}
				w.agent.set(nil)
				w.look()
				w.want("+")
				w.agent.says(status.code, status.body)
				w.pass(renewEvery + 10*lookEvery)
				w.agent.take()
				w.pairings.Store(0)
				w.pass(2 * protectFor)
				if got := w.agent.take(); len(got) == 0 || got[len(got)-1].at > renewEvery+30*lookEvery+protectFor {
					w.Errorf("released %d times, the last %v: what passed by itself needs no release", len(got), got[len(got)-1:])
				}
				w.end()
				w.want("")
				for line, n := range map[string]int{"trying again": 2, "changes the task's protection from scale-in again": 1} {
					if got := strings.Count(w.log.String(), line); got != n {
						w.Errorf("%q is said %d times, want %d: %s", line, got, n, w.log.String())
					}
				}
			})
		})
	}
}

func TestAFailedReleaseIsTriedAgain(t *testing.T) {
	inWorld(t, func(w *world) {
		w.pairings.Store(1)
		w.look()
		w.want("+")
		w.agent.says(http.StatusInternalServerError, denied)
		w.pairings.Store(0)
		w.pass(4 * lookEvery)
		if len(w.agent.take()) < 3 {
			w.Error("not tried again")
		}
		w.agent.set(nil)
		w.look()
		w.want("-")
		w.pass(time.Hour)
		w.want("")
	})
}

func TestAProtectionThatPassedBeginsAnew(t *testing.T) {
	inWorld(t, func(w *world) {
		w.pairings.Store(1)
		w.look()
		w.want("+")
		w.agent.says(http.StatusOK, notValid)
		w.pass(longest)
		w.agent.take()
		w.agent.set(nil)
		w.pass(longest - 2*lookEvery)
		w.want("++++++++")
	})
}

func TestAnEndlessAnswerIsNotReadToItsEnd(t *testing.T) {
	inWorld(t, func(w *world) {
		var wrote int
		w.agent.set(func(answer http.ResponseWriter, _ *http.Request, _ func()) {
			line := []byte(strings.Repeat(" ", 1<<10))
			for err := error(nil); err == nil; wrote += len(line) {
				_, err = answer.Write(line)
			}
		})
		w.pairings.Store(1)
		w.look()
		w.want("+")
		w.agent.set(nil)
		w.end()
		synctest.Wait()
		if wrote > 2*answerMaxBytes {
			w.Errorf("%d bytes were taken", wrote)
		}
	})
}
