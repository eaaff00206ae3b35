package lease

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/wafleet/wafleet/shared/session"
	"github.com/wafleet/wafleet/shared/store"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var quiet = slog.New(slog.DiscardHandler)

// fakeStore keeps one lease as the database would; the contract is tested on
// the real one in package store.
type fakeStore struct {
	mu     sync.Mutex
	until  time.Time     // guarded by mu
	ended  bool          // guarded by mu
	beats  int           // guarded by mu
	answer time.Duration // how long a beat takes; negative: until the context ends, or longer
	stuck  time.Duration // how much longer than its context a beat takes
	down   bool          // guarded by mu; beats fail at once
	silent time.Time     // guarded by mu; beats that are sent until then are lost
}

// storeAnswer is how long the store waits for an answer to a beat.
const storeAnswer = 5 * time.Second

func (f *fakeStore) Register(_ context.Context, _ store.Connector, ttl time.Duration) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.until = time.Now().Add(ttl)
	time.Sleep(max(0, f.answer))
	return nil
}

func (f *fakeStore) RenewHeld(ctx context.Context, _ session.ConnectorID, ttl time.Duration) error {
	f.mu.Lock()
	answer, down, silent := f.answer, f.down, time.Now().Before(f.silent)
	f.beats++
	f.mu.Unlock()
	if down {
		return session.ErrUnavailable
	}
	if silent {
		time.Sleep(storeAnswer)
		return session.ErrUnavailable
	}
	if answer < 0 {
		<-ctx.Done()
		time.Sleep(f.stuck)
		return session.ErrUnavailable
	}
	time.Sleep(answer)
	f.mu.Lock()
	defer f.mu.Unlock()
	if !f.until.After(time.Now()) {
		return session.ErrLeaseLost
	}
	f.until = time.Now().Add(ttl)
	return nil
}

func (f *fakeStore) EndLease(context.Context, session.ConnectorID) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.ended = true
	return nil
}

func (f *fakeStore) set(change func(*fakeStore)) {
	f.mu.Lock()
	defer f.mu.Unlock()
	change(f)
}

func defaults(t *testing.T) Config {
	config, err := Config{}.WithDefaults()
	if err != nil {
		t.Fatal(err)
	}
	return config
}

func TestALeaseIsKeptWhileWorkRunsAndEndedAfter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fakeStore{}
		err := Hold(t.Context(), f, store.Connector{ID: "c"}, defaults(t), quiet, func(ctx context.Context, trust *Trust) error {
			time.Sleep(time.Hour)
			if ctx.Err() != nil || trust.Err() != nil {
				t.Error("authority ended while the database answered")
			}
			return nil
		})
		if err != nil || !f.ended {
			t.Fatalf("error %v, lease ended %v", err, f.ended)
		}
		if f.beats < 800 || f.beats > 1000 { // an hour of 4 s beats
			t.Errorf("%d beats in an hour", f.beats)
		}
	})
}

// A database that is slow all the time is alive: beats follow each other by when
// they are sent.
func TestALeaseIsKeptOnASlowDatabase(t *testing.T) {
	for _, answer := range []time.Duration{time.Second, 2500 * time.Millisecond, 3500 * time.Millisecond, 4500 * time.Millisecond} {
		synctest.Test(t, func(t *testing.T) {
			f := &fakeStore{answer: answer}
			err := Hold(t.Context(), f, store.Connector{ID: "c"}, defaults(t), quiet, func(ctx context.Context, _ *Trust) error {
				time.Sleep(time.Hour)
				return context.Cause(ctx)
			})
			if err != nil {
				t.Errorf("answers after %v: %v", answer, err)
			}
		})
	}
}

// TestFiveSecondsOfSilenceAreSurvived: whenever the database falls silent, five
// seconds of it end nothing. A beat that is sent into the silence is lost, and
// given up after five seconds, as the store gives up an answer.
func TestFiveSecondsOfSilenceAreSurvived(t *testing.T) {
	for round := range 100 {
		synctest.Test(t, func(t *testing.T) {
			f := &fakeStore{}
			err := Hold(t.Context(), f, store.Connector{ID: "c"}, defaults(t), quiet, func(ctx context.Context, _ *Trust) error {
				time.Sleep(time.Minute + time.Duration(round)*47*time.Millisecond)
				f.set(func(f *fakeStore) { f.silent = time.Now().Add(5 * time.Second) })
				time.Sleep(time.Minute)
				return context.Cause(ctx)
			})
			if err != nil {
				t.Errorf("round %d: %v", round, err)
			}
		})
	}
}

func TestAuthorityEndsBeforeTheLeasePasses(t *testing.T) {
	for name, trouble := range map[string]func(*fakeStore){
		"fails at once": func(f *fakeStore) { f.down = true },
		"hangs":         func(f *fakeStore) { f.answer = -1 },
		"hangs longer":  func(f *fakeStore) { f.answer, f.stuck = -1, time.Minute },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := &fakeStore{}
				err := Hold(t.Context(), f, store.Connector{ID: "c"}, defaults(t), quiet, func(ctx context.Context, trust *Trust) error {
					time.Sleep(time.Minute)
					f.set(trouble)
					<-ctx.Done()
					f.mu.Lock()
					defer f.mu.Unlock()
					if left := time.Until(f.until); left < 4*time.Second {
						t.Errorf("authority ended %v before the lease, too late to close", left)
					}
					if !errors.Is(trust.Err(), session.ErrLeaseLost) {
						t.Error("trust outlived the authority")
					}
					return nil
				})
				if !errors.Is(err, session.ErrLeaseLost) {
					t.Fatalf("error %v", err)
				}
				if f.ended {
					t.Error("a lost lease was ended again")
				}
			})
		})
	}
}

func TestFiveSecondsWithoutTheDatabaseAreSurvived(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fakeStore{}
		err := Hold(t.Context(), f, store.Connector{ID: "c"}, defaults(t), quiet, func(ctx context.Context, _ *Trust) error {
			for range 20 {
				f.set(func(f *fakeStore) { f.down = true })
				time.Sleep(5 * time.Second)
				f.set(func(f *fakeStore) { f.down = false })
				time.Sleep(7 * time.Second)
			}
			return context.Cause(ctx)
		})
		if err != nil {
			t.Fatal(err)
		}
	})
}

func TestASlowAnswerDoesNotStretchTrust(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fakeStore{answer: 5500 * time.Millisecond}
		err := Hold(t.Context(), f, store.Connector{ID: "c"}, defaults(t), quiet, func(ctx context.Context, trust *Trust) error {
			for range 300 {
				time.Sleep(100 * time.Millisecond)
				if left := trust.Left(); left > 10*time.Second {
					t.Errorf("trust of %v", left)
				}
			}
			return nil
		})
		if err != nil && !errors.Is(err, session.ErrLeaseLost) {
			t.Fatal(err)
		}
	})
}

func TestALateAnswerDoesNotReviveTrust(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		trust := NewTrust(time.Second)
		time.Sleep(time.Second)
		if trust.Err() == nil {
			t.Fatal("trust did not end")
		}
		if trust.renew(time.Now()) || trust.Err() == nil {
			t.Fatal("revived")
		}
	})
}

func TestTimesMustFitEachOther(t *testing.T) {
	for _, bad := range []Config{
		{TTL: 15 * time.Second, Trust: 15 * time.Second},
		{TTL: 15 * time.Second, Beat: 6 * time.Second},
	} {
		if _, err := bad.WithDefaults(); err == nil {
			t.Errorf("%+v was accepted", bad)
		}
	}
}
