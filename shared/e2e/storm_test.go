package e2e

import (
	"encoding/json"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/wafleet/wafleet/shared/e2e/bootstrap"
	"github.com/wafleet/wafleet/shared/session"
	"github.com/wafleet/wafleet/shared/wasim"
)

// A storm is many starts at once.

// stormEnv lets the connectors of a storm connect faster than production's, and
// keeps what they show still: no code runs out and no session is moved while it
// is counted.
var stormEnv = []string{"LOG_LEVEL=INFO", "CONNECTS_PER_SECOND=200", "QR_FIRST=10m", "QR_NEXT=10m", still}

// stormPatience is for a thousand sessions on a busy machine.
const stormPatience = 2 * time.Minute

func newStorm(t testing.TB, slots ...int) *system {
	t.Helper()
	s := newSystem(t, options{sim: &wasim.Server{QRTimeout: time.Hour, EventLimit: 1 << 16}})
	for _, n := range slots {
		s.stormConnector(n)
	}
	return s
}

func (s *system) stormConnector(slots int) {
	s.Helper()
	s.launch(append(stormEnv, fmt.Sprint("SLOTS=", slots))...).registered()
}

// storm asks for sessions s1..sn within a second, whether or not the API keeps
// up, and returns when the last one was asked for and answered.
func (s *system) storm(n int) (asked, answered time.Duration) {
	s.Helper()
	began := time.Now()
	var callers sync.WaitGroup
	for i := range n {
		callers.Go(func() {
			s.want(201, "POST", fmt.Sprint("/api/sessions/s", i+1, "/start"), quietStart)
		})
		// The pace of the callers, which make up for lateness.
		time.Sleep(time.Until(began.Add(time.Second * time.Duration(i+1) / time.Duration(n))))
	}
	asked = time.Since(began)
	callers.Wait()
	return asked, time.Since(began)
}

// wantScanned waits for QR sockets and codes of n sessions, and makes sure that
// each was claimed once.
func (s *system) wantScanned(n int) {
	s.Helper()
	s.eventuallyWithin(stormPatience, fmt.Sprint(n, " QR sockets"), func() bool { return s.sim.Stats().Registrations >= n })
	s.eventuallyWithin(stormPatience, fmt.Sprint(n, " sessions that show codes"), func() bool {
		return s.rows(`SELECT count(*) FROM session_run r JOIN pairing p USING (session_id) WHERE r.state = 'SCAN_QR_CODE' AND p.codes IS NOT NULL`) >= n
	})
	if stats := s.sim.Stats(); stats.Registrations != n || stats.Open != n {
		s.Errorf("%d registrations and %d sockets for %d sessions", stats.Registrations, stats.Open, n)
	}
	if once := s.rows(`SELECT count(*) FROM session_run WHERE epoch = 1 AND holder IS NOT NULL`); once != n {
		s.Errorf("%d sessions were claimed once, want %d", once, n)
	}
	if other := s.rows(`SELECT count(*) FROM session_run WHERE epoch > 1`); other != 0 {
		s.Errorf("%d sessions were claimed twice", other)
	}
}

// shown counts what the API shows, by status and reason.
func (s *system) shown() map[string]int {
	s.Helper()
	const page = 100
	count := map[string]int{}
	for offset := 0; ; offset += page {
		var list []struct {
			Status       string
			StatusReason *struct{ Code string }
		}
		got := s.want(200, "GET", fmt.Sprintf("/api/sessions?limit=%d&offset=%d", page, offset), "")
		if err := json.Unmarshal(got.body, &list); err != nil {
			s.Fatal(err)
		}
		for _, one := range list {
			if one.StatusReason != nil {
				one.Status += " " + one.StatusReason.Code
			}
			count[one.Status]++
		}
		if len(list) < page {
			return count
		}
	}
}

func (s *system) wantShown(status session.Status, reason session.ReasonCode, n int) {
	s.Helper()
	key := string(status)
	if reason != "" {
		key += " " + string(reason)
	}
	if shown := s.shown(); shown[key] != n {
		s.Errorf("the API shows %v, want %d %s", shown, n, key)
	}
}

// stormSize is 1,000 where the figures of a machine are left alone.
func stormSize() int {
	if testing.Short() || bootstrap.Race() {
		return 150
	}
	return 1000
}

// TestAStormOfStarts does not run beside other tests: it takes the machine for
// itself, and some of them measure.
func TestAStormOfStarts(t *testing.T) {
	n := stormSize()
	s := newStorm(t, n*2/5, n*2/5, n*2/5)
	asked, answered := s.storm(n)
	s.wantScanned(n)
	s.wantShown(session.ScanQRCode, "", n)
	t.Logf("%d starts were asked for within %s and answered within %s; 3 connectors of 200 connects/s", n, seconds(asked), seconds(answered))
}
