package metrics

import (
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/wafleet/wafleet/shared/session"
	"github.com/wafleet/wafleet/shared/store"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var idle = Gauges{
	Held: func() int { return 0 }, Slots: func() int { return 0 }, Pairing: func() int { return 0 },
	TrustSeconds: func() float64 { return 0 }, BeatSeconds: func() float64 { return 0 },
}

// scrape returns the connector's own samples.
func scrape(t *testing.T, m *Metrics) []string { return scrapeOf(t, m, "wafleet_connector_") }

func scrapeOf(t *testing.T, m *Metrics, prefix string) []string {
	t.Helper()
	w := httptest.NewRecorder()
	m.Handler().ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/metrics", nil))
	if w.Code != http.StatusOK {
		t.Fatalf("%d %s", w.Code, w.Body)
	}
	var samples []string
	for line := range strings.Lines(w.Body.String()) {
		if sample, ok := strings.CutPrefix(strings.TrimSpace(line), prefix); ok {
			samples = append(samples, sample)
		}
	}
	return samples
}

func TestEverythingIsCounted(t *testing.T) {
	t.Parallel()
	held, trust := 3, 9.5
	m := New(Gauges{
		Held: func() int { return held }, Slots: func() int { return 100 }, Pairing: func() int { return 2 },
		TrustSeconds: func() float64 { return trust }, BeatSeconds: func() float64 { return 0.5 },
	})
	m.Claimed("queue", 3*time.Millisecond)
	m.Claimed("queue", 10*time.Second)
	m.Claimed("poll", time.Second)
	m.QueueReceived(0)
	m.QueueReceived(5)
	m.QueueMessages("deleted", 4)
	m.QueueMessages("poison", 1)
	m.QueueFailed("receive")
	m.Released("")
	m.Released(session.LoggedOut)
	m.Fenced()
	m.Reconnect(session.KeepAlive)
	m.StreamError()
	m.IllegalTransition()
	m.Panic()
	m.LeaseLost()
	m.Draining()
	m.HandedOver("rebalance")
	want := []string{
		`claim_wait_seconds_count{by="poll"} 1`, `claim_wait_seconds_count{by="queue"} 2`,
		"claims_total 3", "drains_total 1", "fences_total 1", `handovers_total{why="rebalance"} 1`, "illegal_transitions_total 1",
		"lease_beat_age_seconds 0.5", "lease_trust_seconds 9.5", "leases_lost_total 1",
		`queue_errors_total{call="receive"} 1`, `queue_messages_total{fate="deleted"} 4`, `queue_messages_total{fate="poison"} 1`, "queue_receives_total 2",
		`reconnects_total{reason="KEEPALIVE"} 1`, `releases_total{reason="LOGGED_OUT"} 1`, `releases_total{reason="none"} 1`,
		"session_panics_total 1", "sessions_held 3", "sessions_pairing 2", "slots 100", "stream_errors_total 1",
	}
	inPart := func(sample string) bool {
		return strings.HasPrefix(sample, "claim_wait_seconds_bucket") || strings.HasPrefix(sample, "claim_wait_seconds_sum")
	}
	if got := slices.DeleteFunc(scrape(t, m), inPart); !slices.Equal(got, want) {
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
	m := New(idle)
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
		New(idle).Fenced()
	}
}

func TestOneConnectorSpeaksForTheFleet(t *testing.T) {
	t.Parallel()
	m := New(idle)
	if got := scrapeOf(t, m, "wafleet_fleet_"); len(got) != 0 {
		t.Errorf("before the first count: %q", got)
	}
	m.SetFleet(&store.FleetStatus{Wanted: 9, Unplaced: 2, OldestJob: 1500 * time.Millisecond, Alive: 3, Slots: 30, SlotsFree: 23, Running: 8, Outdated: 1, Failed: 4})
	want := []string{"client_outdated_share 0.125", "connectors_alive 3", "oldest_job_seconds 1.5", "sessions_failed 4", "sessions_unplaced 2", "sessions_wanted 9", "slots 30", "slots_free 23"}
	if got := scrapeOf(t, m, "wafleet_fleet_"); !slices.Equal(got, want) {
		t.Errorf("got  %q\nwant %q", got, want)
	}
	m.SetFleet(nil) // another one counts now
	if got := scrapeOf(t, m, "wafleet_fleet_"); len(got) != 0 {
		t.Errorf("still %q", got)
	}
}
