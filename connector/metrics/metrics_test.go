package metrics

import (
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"go.uber.org/goleak"

	"github.com/wafleet/wafleet/shared/session"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// scrape returns the connector's own samples.
func scrape(t *testing.T, m *Metrics) []string {
	t.Helper()
	w := httptest.NewRecorder()
	m.Handler().ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/metrics", nil))
	if w.Code != http.StatusOK {
		t.Fatalf("%d %s", w.Code, w.Body)
	}
	var samples []string
	for line := range strings.Lines(w.Body.String()) {
		if sample, ok := strings.CutPrefix(strings.TrimSpace(line), "wafleet_connector_"); ok {
			samples = append(samples, sample)
		}
	}
	return samples
}

func TestEverythingIsCounted(t *testing.T) {
	t.Parallel()
	held, trust := 3, 9.5
	m := New(func() int { return held }, func() int { return 100 }, func() float64 { return trust })
	m.Claimed(3)
	m.Claimed(2)
	m.Released("")
	m.Released(session.LoggedOut)
	m.Fenced()
	m.Reconnect(session.KeepAlive)
	m.StreamError()
	m.IllegalTransition()
	m.Panic()
	m.LeaseLost()
	want := []string{
		"claims_total 5", "fences_total 1", "illegal_transitions_total 1", "lease_trust_seconds 9.5", "leases_lost_total 1",
		`reconnects_total{reason="KEEPALIVE"} 1`, `releases_total{reason="LOGGED_OUT"} 1`, `releases_total{reason="none"} 1`,
		"session_panics_total 1", "sessions_held 3", "slots 100", "stream_errors_total 1",
	}
	if got := scrape(t, m); !slices.Equal(got, want) {
		t.Errorf("got  %q\nwant %q", got, want)
	}
	held, trust = 0, -1 // read at every scrape
	got := scrape(t, m)
	if !slices.Contains(got, "sessions_held 0") || !slices.Contains(got, "lease_trust_seconds -1") {
		t.Errorf("%q", got)
	}
}

// The far side chooses numbers; they must not make series without end.
func TestReasonsOfTheFarSideShareALabel(t *testing.T) {
	t.Parallel()
	m := New(func() int { return 0 }, func() int { return 0 }, func() float64 { return 0 })
	for code := range 1000 {
		m.Reconnect(session.ConnectFailure(code))
	}
	m.Reconnect(session.StreamError("abc"))
	var series []string
	for _, s := range scrape(t, m) {
		if strings.HasPrefix(s, "reconnects_total") {
			series = append(series, s)
		}
	}
	want := []string{`reconnects_total{reason="CONNECT_FAILURE"} 1000`, `reconnects_total{reason="STREAM_ERROR"} 1`}
	if !slices.Equal(series, want) {
		t.Errorf("%q", series)
	}
}

// Two processes' worth of metrics in one binary do not meet, as in tests.
func TestRegistriesAreSeparate(t *testing.T) {
	t.Parallel()
	for range 2 {
		New(func() int { return 0 }, func() int { return 0 }, func() float64 { return 0 }).Fenced()
	}
}
