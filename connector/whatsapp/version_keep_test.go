package whatsapp

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"go.mau.fi/whatsmeow/store"

	"github.com/wafleet/wafleet/connector/event"
	"github.com/wafleet/wafleet/shared/session"
)

// fleetRow is the fleet's version, which grows old.
type fleetRow struct {
	mu      sync.Mutex
	version string    // guarded by mu; "" is no row
	at      time.Time // guarded by mu
	err     error     // guarded by mu
}

func (r *fleetRow) ClientVersion(context.Context) (string, time.Duration, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.err == nil && r.version == "" {
		return "", 0, session.ErrNotFound
	}
	return r.version, time.Since(r.at), r.err
}

func (r *fleetRow) SetClientVersion(_ context.Context, version string) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.err == nil {
		r.version, r.at = version, time.Now()
	}
	return r.err
}

func (r *fleetRow) fail(err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.err = err
}

// page is WhatsApp's page: it announces the number of its fetches.
type page struct {
	fetches atomic.Int64
	down    atomic.Bool
	answer  func(ctx context.Context) (*http.Response, error) // in place of the page, if not nil
}

// revision is what the page announces after so many fetches.
func revision(fetches int64) string { return fmt.Sprintf("2.3000.%d", 1099000000+fetches) }

func (p *page) RoundTrip(r *http.Request) (*http.Response, error) {
	n := p.fetches.Add(1)
	if p.down.Load() {
		return nil, errors.New("no network")
	}
	if p.answer != nil {
		return p.answer(r.Context())
	}
	return reply(http.StatusOK, fmt.Sprintf(`"client_revision":%d,`, 1099000000+n)), nil
}

func reply(status int, body string) *http.Response {
	return &http.Response{StatusCode: status, Body: io.NopCloser(strings.NewReader(body))}
}

// versionsOf makes the versions of one connector.
func versionsOf(t *testing.T, row *fleetRow, p *page, log *logBuffer) *Versions {
	t.Helper()
	v, err := newVersions(row, &http.Client{Transport: p}, "", log.logger(slog.LevelInfo))
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// kept runs Keep in a bubble until the test ends.
func kept(t *testing.T, v *Versions) *Versions {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		v.Keep(ctx)
	}()
	t.Cleanup(func() {
		cancel()
		<-done
	})
	return v
}

// longestRound is when every connector has looked once.
const longestRound = keepEvery + keepEvery/5 + time.Second

func TestOneConnectorKeepsTheVersionOfTheFleetFresh(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var log logBuffer
		row, p := &fleetRow{version: revision(0), at: time.Now()}, &page{}
		var fleet []*Versions
		for range 5 {
			fleet = append(fleet, kept(t, versionsOf(t, row, p, &log)))
		}
		check := func(want int64) {
			t.Helper()
			if got := p.fetches.Load(); got != want {
				t.Errorf("%d fetches, want %d", got, want)
			}
			for i, v := range fleet {
				if v.Current() != revision(want) {
					t.Errorf("connector %d has %s, want %s", i, v.Current(), revision(want))
				}
			}
		}
		time.Sleep(longestRound)
		check(0)
		for day := range int64(3) {
			// The row is old a day after it was written, and found old within a round.
			row.mu.Lock()
			old := time.Until(row.at.Add(versionMaxAge))
			row.mu.Unlock()
			time.Sleep(old - time.Second)
			check(day)
			time.Sleep(time.Second + 2*longestRound)
			check(day + 1)
		}
	})
}

func TestKeepTriesAgain(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var log logBuffer
		row := &fleetRow{}
		p := &page{}
		p.down.Store(true)
		row.fail(session.ErrUnavailable)
		v := versionsOf(t, row, p, &log)
		builtIn := v.Current()
		kept(t, v)
		time.Sleep(longestRound)
		if got := p.fetches.Load(); got != 0 || !strings.Contains(log.String(), "read the fleet's client version") {
			t.Errorf("%d fetches while the database is away; log: %s", got, log.String())
		}
		row.fail(nil)
		time.Sleep(longestRound)
		if got := p.fetches.Load(); got < 1 || v.Current() != builtIn || !strings.Contains(log.String(), "no network") {
			t.Errorf("%d fetches without a network, version %s; log: %s", got, v.Current(), log.String())
		}
		p.down.Store(false)
		time.Sleep(longestRound)
		if stored, _, err := row.ClientVersion(t.Context()); err != nil || v.Current() == builtIn || stored != v.Current() {
			t.Errorf("version %s, of the fleet %s, %v", v.Current(), stored, err)
		}
	})
}

// TestKeepDoesNotHang proves that a page which never answers costs one round.
func TestKeepDoesNotHang(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var log logBuffer
		p := &page{answer: func(ctx context.Context) (*http.Response, error) {
			<-ctx.Done()
			return nil, ctx.Err()
		}}
		kept(t, versionsOf(t, &fleetRow{}, p, &log))
		time.Sleep(2*longestRound + 2*keepTimeout)
		if got := p.fetches.Load(); got < 2 || got > 3 {
			t.Errorf("%d fetches, want 2 or 3", got)
		}
	})
}

func TestAPinnedVersionIsNotKept(t *testing.T) {
	t.Parallel()
	v, err := newVersions(&fleetRow{err: errors.New("asked")}, nil, "2.3000.7", slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	v.Keep(t.Context()) // returns
	if v.Current() != "2.3000.7" {
		t.Errorf("version %s", v.Current())
	}
}

func TestRefresh(t *testing.T) {
	t.Parallel()
	builtIn := store.GetWAVersion().String()
	for name, tt := range map[string]struct {
		row     *fleetRow
		fetches int64
		want    string
	}{
		"another connector was faster": {&fleetRow{version: revision(7)}, 0, revision(7)},
		"the fleet has the same":       {&fleetRow{version: builtIn}, 1, revision(1)},
		"the fleet has an older one":   {&fleetRow{version: "2.2000.1"}, 1, revision(1)},
		"the fleet has none":           {&fleetRow{}, 1, revision(1)},
		"the database is away":         {&fleetRow{err: session.ErrUnavailable}, 1, revision(1)},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var log logBuffer
			p := &page{}
			v := versionsOf(t, tt.row, p, &log)
			for range 2 { // the second has nothing to do
				if err := v.Refresh(t.Context(), builtIn); err != nil {
					t.Fatal(err)
				}
			}
			if got := p.fetches.Load(); got != tt.fetches || v.Current() != tt.want {
				t.Errorf("version %s after %d fetches, want %s after %d", v.Current(), got, tt.want, tt.fetches)
			}
		})
	}
}

func TestAnUnknownVersionIsToldApart(t *testing.T) {
	t.Parallel()
	refused := errors.New("refused")
	for name, answer := range map[string]func(context.Context) (*http.Response, error){
		"no network": func(context.Context) (*http.Response, error) { return nil, refused },
		"bad status": func(context.Context) (*http.Response, error) { return reply(503, strings.Repeat("é", 100_000)), nil },
		"other page": func(context.Context) (*http.Response, error) { return reply(200, "<html>"), nil },
		"huge number": func(context.Context) (*http.Response, error) {
			return reply(200, `"client_revision":99999999999999999999,`), nil
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var log logBuffer
			v := versionsOf(t, &fleetRow{}, &page{answer: answer}, &log)
			before := v.Current()
			err := v.Refresh(t.Context(), before)
			if !errors.Is(err, event.ErrVersionUnknown) || len(err.Error()) > 600 || v.Current() != before {
				t.Errorf("version %s, error %v", v.Current(), err)
			}
			if name == "no network" && !errors.Is(err, refused) {
				t.Errorf("the cause is lost: %v", err)
			}
		})
	}
}

func TestOneRefreshAtATime(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var log logBuffer
		answered := make(chan struct{})
		p := &page{answer: func(ctx context.Context) (*http.Response, error) {
			<-answered
			return reply(200, `"client_revision":1099000001,`), nil
		}}
		v := versionsOf(t, &fleetRow{}, p, &log)
		refused := v.Current()
		var all sync.WaitGroup
		for range 3 {
			all.Go(func() {
				if err := v.Refresh(t.Context(), refused); err != nil {
					t.Error(err)
				}
			})
		}
		synctest.Wait()
		// Who waits for another's refresh does so no longer than it wants to.
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := v.Refresh(ctx, refused); !errors.Is(err, event.ErrVersionUnknown) || !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("%v", err)
		}
		close(answered)
		all.Wait()
		if got := p.fetches.Load(); got != 1 || v.Current() != revision(1) {
			t.Errorf("version %s after %d fetches", v.Current(), got)
		}
	})
}
