package whatsapp

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"strings"
	"testing"
	"time"

	"go.mau.fi/whatsmeow/store"

	"github.com/wafleet/wafleet/connector/event"
	"github.com/wafleet/wafleet/shared/session"
	"github.com/wafleet/wafleet/shared/wasim"
)

// shelf is a fleet's version store.
type shelf struct {
	version string
	age     time.Duration
	err     error
	stored  []string
}

func (s *shelf) ClientVersion(context.Context) (string, time.Duration, error) {
	return s.version, s.age, s.err
}

func (s *shelf) SetClientVersion(_ context.Context, version string) error {
	s.stored = append(s.stored, version)
	return s.err
}

// announced is what the simulator's page says.
const announced = "2.3000.1045999999"

func TestPrepare(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	builtIn := store.GetWAVersion().String()
	const newer = "2.3000.1099999999"
	for name, tt := range map[string]struct {
		shelf  shelf
		pin    string
		want   string
		stored int
	}{
		"young":               {shelf{version: newer, age: versionMaxAge - 1}, "", newer, 0},
		"old":                 {shelf{version: newer, age: versionMaxAge}, "", announced, 1},
		"missing":             {shelf{err: session.ErrNotFound}, "", announced, 1},
		"database down":       {shelf{err: session.ErrUnavailable}, "", announced, 1},
		"older than built in": {shelf{version: "2.2000.1"}, "", builtIn, 0},
		"nonsense":            {shelf{version: "new"}, "", builtIn, 0},
		"pinned":              {shelf{version: newer}, "2.3000.7", "2.3000.7", 0},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var log logBuffer
			v, err := newVersions(&tt.shelf, r.devices.transports.direct, tt.pin, log.logger(slog.LevelInfo))
			r.must(err)
			v.Prepare(t.Context())
			if v.Current() != tt.want || len(tt.shelf.stored) != tt.stored {
				t.Errorf("version %s, stored %v; want %s, %d", v.Current(), tt.shelf.stored, tt.want, tt.stored)
			}
		})
	}
}

func TestPrepareNeverFails(t *testing.T) {
	t.Parallel()
	var log logBuffer
	down := &http.Client{Transport: roundTrip(func(*http.Request) (*http.Response, error) { return nil, errors.New("no network") })}
	v, err := newVersions(&shelf{err: session.ErrNotFound}, down, "", log.logger(slog.LevelInfo))
	if err != nil {
		t.Fatal(err)
	}
	v.Prepare(t.Context())
	if v.Current() != store.GetWAVersion().String() || !strings.Contains(log.String(), "no network") {
		t.Errorf("version %s, log %s", v.Current(), log.String())
	}
}

func TestPin(t *testing.T) {
	t.Parallel()
	for _, bad := range []string{"x", "1", "1.2", "1.2.x", "0.0.0", "1.2.3.4"} {
		if _, err := New(Config{Version: bad}, nil, slog.New(slog.DiscardHandler)); err == nil || !strings.Contains(err.Error(), "WHATSAPP_VERSION") {
			t.Errorf("%q: %v", bad, err)
		}
	}
	d, err := New(Config{Version: "2.3000.5"}, nil, slog.New(slog.DiscardHandler))
	if err != nil || d.Versions().Current() != "2.3000.5" {
		t.Fatalf("%v", err)
	}
	if err := d.Versions().Refresh(t.Context(), "2.3000.5"); !errors.Is(err, ErrVersionPinned) {
		t.Errorf("refresh: %v", err)
	}
}

func TestAnOutdatedClientRefreshesAndLogsIn(t *testing.T) {
	t.Parallel()
	h := newRig(t).open(session.Postgres)
	jid := h.pair("5511999999999")
	h.must(h.sim.SetMinVersion(announced))
	seq := h.sim.LastSeq()
	conn := h.connect(jid)
	await[event.Outdated](h)
	if got := h.expect(seq, wasim.EventFailure); got.Detail != "405" {
		t.Errorf("%+v", got)
	}
	conn.Close()
	versions := h.rig.devices.Versions()
	refused := versions.Current()
	h.must(versions.Refresh(t.Context(), refused))
	if versions.Current() != announced {
		t.Errorf("version %s", versions.Current())
	}
	if stored, _, err := h.fleet.ClientVersion(t.Context()); err != nil || stored != announced {
		t.Errorf("stored %q, %v", stored, err)
	}
	h.login(jid)
	// A second that was refused with the old one needs no refresh.
	h.must(h.sim.Refuse(wasim.RefuseClose, 0))
	h.must(versions.Refresh(t.Context(), refused))
	if err := versions.Refresh(t.Context(), announced); !errors.Is(err, event.ErrVersionUnknown) {
		t.Errorf("refreshed without an answer: %v", err)
	}
}

func TestGlobalsAreSetOnce(t *testing.T) {
	t.Parallel()
	if err := SetGlobals(Globals{}); err == nil {
		t.Error("set again")
	}
	for _, g := range []Globals{
		{KeepAliveMin: time.Second, KeepAliveMax: time.Second},
		{KeepAliveMin: time.Minute, KeepAliveMax: time.Second},
		{KeepAliveMin: time.Microsecond, KeepAliveMax: 2 * time.Microsecond},
	} {
		if err := SetGlobals(g); err == nil || !strings.Contains(err.Error(), "range") {
			t.Errorf("%+v: %v", g, err)
		}
	}
}
