package e2e

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/wafleet/wafleet/shared/session"
)

// healTime is how soon everything is as the users want it when faults have ended.
const healTime = 30 * time.Second

// invariants checks, when the faults of a scenario have ended, what every
// scenario must keep, whatever happened. survivors are the connectors that run.
// For the last of the six it stops every session.
func (s *system) invariants(survivors ...*process) {
	s.Helper()
	s.keepsItsWord()
	s.nothingLeftOpen(survivors)
}

// keepsItsWord checks the first five, for which there must be sessions.
func (s *system) keepsItsWord() {
	s.Helper()
	// Three, four and half of five: sessions, jobs and codes are as they should be.
	var wrong []string
	defer func() {
		if s.Failed() {
			s.Logf("wrong in the end:\n%s", strings.Join(wrong, "\n"))
		}
	}()
	s.eventuallyWithin(healTime, "what the users want", func() bool {
		wrong = s.wrong()
		return len(wrong) == 0
	})
	s.onlyOneSocket()
	s.noFaults(faultEpoch, faultStale, faultFailed)
	s.noKeyInLogs()
}

// onlyOneSocket checks that no device was logged in twice, and that none that was
// replaced went on.
func (s *system) onlyOneSocket() {
	s.Helper()
	if stats := s.sim.Stats(); stats.MaxSocketsPerDevice > 1 || stats.Overlaps > 0 || stats.LateFrames > 0 {
		s.Errorf("a device was logged in %d times at once, %d overlaps, %d late frames", stats.MaxSocketsPerDevice, stats.Overlaps, stats.LateFrames)
	}
}

// unwell lists sessions that are not as their users want them, that wait for
// somebody, or that show a code to nobody. Codes are removed a moment after their
// end. Of a stopped session only counts that nobody holds it: its run still says
// what the last holder said, which is STARTING if it drained before the stop.
const unwell = `
SELECT concat_ws(' ', s.name, 'is wanted', s.desired, 'and is', r.state, r.reason_code, 'at epoch', r.epoch, 'held by', r.holder,
    CASE WHEN c.id IS NULL THEN 'who is not alive' END, CASE WHEN s.deleted_at IS NOT NULL THEN 'deleted' END,
    CASE WHEN j.session_id IS NOT NULL THEN 'with a job' END, CASE WHEN p.codes IS NOT NULL OR p.code IS NOT NULL THEN 'with codes' END)
FROM session s JOIN session_run r ON r.session_id = s.id JOIN pairing p ON p.session_id = s.id
LEFT JOIN start_job j ON j.session_id = s.id LEFT JOIN connector c ON c.id = r.holder AND c.lease_until > now()
WHERE j.session_id IS NOT NULL OR s.deleted_at IS NOT NULL
   OR CASE WHEN s.desired = 'running' THEN c.id IS NULL OR r.state NOT IN ('WORKING', 'SCAN_QR_CODE') ELSE r.holder IS NOT NULL END
   OR (p.codes IS NOT NULL OR p.code IS NOT NULL) AND (r.state <> 'SCAN_QR_CODE' OR p.epoch <> r.epoch)
   OR p.codes IS NOT NULL AND p.started_at + (p.first_ms + p.next_ms * (cardinality(p.codes) - 1)) * interval '1 millisecond' < now() - interval '5 seconds'
   OR p.code IS NOT NULL AND p.code_valid_until < now() - interval '5 seconds'
UNION ALL SELECT 'a pairing code is asked for' FROM pairing_request`

// wrong says what is not as it should be, in the database and at WhatsApp.
func (s *system) wrong() []string {
	s.Helper()
	wrong := s.texts(unwell)
	linked := s.texts(`SELECT r.jid FROM session_run r JOIN session s ON s.id = r.session_id WHERE s.desired = 'running' AND r.state = 'WORKING' AND r.jid IS NOT NULL`)
	for _, d := range s.sim.Devices() {
		want := 0
		if slices.Contains(linked, d.JID) {
			want = 1
		}
		if d.Sockets != want {
			wrong = append(wrong, fmt.Sprintf("device %s has %d sockets, want %d", d.JID, d.Sockets, want))
		}
	}
	if open, want := s.sim.Connections(), s.rows(`SELECT count(*) FROM session WHERE desired = 'running'`); len(open) != want {
		wrong = append(wrong, fmt.Sprintf("%d sockets are open for %d sessions: %+v", len(open), want, open))
	}
	return wrong
}

// noKeyInLogs lets the end of every program look for the keys of the devices in
// what it has written. Numbers and codes are noted where a test makes them.
func (s *system) noKeyInLogs() {
	s.Helper()
	for _, form := range []string{"hex", "base64"} {
		for _, key := range []string{"noise_key", "identity_key", "signed_pre_key", "adv_key"} {
			for _, text := range s.texts(fmt.Sprintf(`SELECT encode(%s, '%s') FROM whatsmeow_device`, key, form)) {
				s.secret(text)
			}
		}
	}
}

// nothingLeftOpen stops every session and checks that the connectors have open
// what one has that is at rest.
func (s *system) nothingLeftOpen(survivors []*process) {
	s.Helper()
	for _, name := range s.texts(`SELECT name FROM session WHERE desired = 'running'`) {
		s.stop(name)
	}
	s.unheld()
	base, now := s.resting(), use{}
	defer func() {
		if s.Failed() {
			s.Logf("left open: %v\nat rest:   %v", now, base)
		}
	}()
	s.eventually("the return to the baseline", func() bool {
		now = s.use(survivors...)
		return now.openWithin(base)
	})
}

// rest is what a connector has open that has held sessions and holds none. It is
// the same for all of a stage, and found out once.
var rest = struct {
	mu sync.Mutex
	on map[stage]use // guarded by mu
}{on: map[stage]use{}}

func (s *system) resting() use {
	s.Helper()
	rest.mu.Lock()
	defer rest.mu.Unlock()
	if _, known := rest.on[s.stage]; !known {
		rest.on[s.stage] = s.comeToRest()
	}
	if rest.on[s.stage].connectors == 0 {
		s.Fatal("what a connector has open at rest is not known")
	}
	return rest.on[s.stage]
}

func (s *system) comeToRest() (now use) {
	s.Helper()
	own := newSystem(s.TB, options{stage: s.stage})
	c := own.connector()
	own.pair("a", "5511999990901", postgresStart)
	own.pair("b", "5511999990902", documentedStart)
	own.stop("a")
	own.stop("b")
	own.unheld()
	own.eventually("a connector at rest", func() bool {
		before := now
		now = own.use(c)
		return now.sockets == 0 && now.held == 0 && now == (use{
			connectors: 1, goroutines: before.goroutines, files: before.files, heap: now.heap, database: before.database,
		})
	})
	if code := c.end(); code != 0 {
		own.Errorf("exit code %d", code)
	}
	return now
}

// restarted waits until a connector that lost its lease has come back under
// another id.
func (p *process) restarted(before session.ConnectorID) session.ConnectorID {
	p.Helper()
	now := before
	deadline := time.Now().Add(patience)
	for now == before {
		_, more := p.log.Text()
		if now, _ = p.registered(); now != before {
			break
		}
		select {
		case <-more:
		case <-p.exited:
			p.Fatal("the connector ended")
		case <-time.After(time.Until(deadline)):
			p.Fatalf("the connector did not come back within %v", patience)
		}
	}
	return now
}
