package chaos

import (
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/wafleet/wafleet/shared/wasim"
)

// healTime is how soon everything is well again when the faults have ended.
const healTime = 30 * time.Second

// maxStories is how many sessions are told about in full.
const maxStories = 3

// heal waits until everything is as the users want it and returns how long that
// took, and what it waited for at last.
func (w *watch) heal() (took time.Duration, last string) {
	began := time.Now()
	for {
		wrong := w.wrong()
		if len(wrong) == 0 {
			return time.Since(began), last
		}
		last = fmt.Sprint(wrong)
		if time.Since(began) > healTime {
			for i, name := range slices.Sorted(maps.Keys(wrong)) {
				story := ""
				if i < maxStories {
					story = w.story(name)
				}
				w.Errorf("%v after the last fault %s: %s\n%s", healTime, name, wrong[name], story)
			}
			return time.Since(began), last
		}
		time.Sleep(pause)
	}
}

// wrong says what is not as it should be in the end, by session.
func (w *watch) wrong() map[string]string {
	wrong := map[string]string{}
	seen, err := w.look(w.Context())
	if err != nil {
		return map[string]string{"": err.Error()}
	}
	sockets := 0
	if left := w.haunting(w.Context()); left != "" {
		wrong["graves"] = left
	}
	for name, s := range w.sessions {
		if s.presence().gone {
			continue
		}
		shown, reason := w.status(w.Context(), name)
		if shown == "WORKING" || shown == "SCAN_QR_CODE" {
			sockets++
		}
		if what := w.wrongInTheEnd(s, seen[name], shown, reason); what != "" {
			wrong[name] = what
		}
	}
	if open := w.sockets(wasim.SilenceOff); len(wrong) == 0 && len(open) != sockets {
		wrong["sockets"] = fmt.Sprintf("%d are open for %d sessions: %+v", len(open), sockets, w.sim.Connections())
	}
	return wrong
}

// sockets are those that are open at the simulator and, as far as it can tell,
// at the connector too. One that the simulator has frozen is not read there, so
// nobody notices its end.
func (f *fleet) sockets(speech ...wasim.SilenceMode) []wasim.ConnectionInfo {
	return slices.DeleteFunc(f.sim.Connections(), func(c wasim.ConnectionInfo) bool {
		return !slices.Contains(speech, c.Silence)
	})
}

func (w *watch) wrongInTheEnd(s *state, now sight, shown, reason string) string {
	s.mu.Lock()
	wanted, jid, mayScan := s.wanted, s.jid, s.unlinked || s.waiting || s.fresh
	s.mu.Unlock()
	switch {
	case !wanted && (now.holder != "" || shown != "STOPPED" || now.queued):
		return fmt.Sprintf("it is not wanted, shown as %s, held by %q, queued %v", shown, now.holder, now.queued)
	case wanted && shown == "FAILED" && (now.holder != "" || !w.mayFail(s.name, reason)):
		return fmt.Sprintf("it failed with %s, held by %q", reason, now.holder)
	case wanted && shown == "SCAN_QR_CODE" && !mayScan:
		return "it asks for a scan, but it is linked"
	case wanted && shown != "WORKING" && shown != "SCAN_QR_CODE" && shown != "FAILED":
		return "it is " + shown + " " + reason
	case wanted && now.queued:
		return "its start job waits"
	case now.coded && shown != "SCAN_QR_CODE":
		return "its codes are left"
	case now.stale:
		return "its codes have expired and are left"
	case !mayScan && now.jid != jid:
		return fmt.Sprintf("it has device %q, not %q", now.jid, jid)
	}
	return ""
}

// leaveAll ends every process in order.
func (d *driver) leaveAll() {
	var leaving sync.WaitGroup
	for _, p := range d.programs() {
		if run := p.running(); run != nil && !run.endedByItself() {
			leaving.Go(func() { d.leave(p) })
		}
	}
	leaving.Wait()
	d.await("every socket is closed", func() error { // the links pass the end on
		if open := d.sockets(wasim.SilenceOff, wasim.SilenceMute); len(open) != 0 {
			return fmt.Errorf("%d sockets are open: %+v", len(open), open)
		}
		return nil
	})
	d.await("every connection to Postgres is closed", func() error {
		n, err := d.db.backends()
		if err == nil && n != 0 {
			err = fmt.Errorf("connectors that have left have %d connections to Postgres", n)
		}
		return err
	})
}

// await polls until nothing is wrong.
func (f *fleet) await(what string, wrong func() error) {
	for end := time.Now().Add(healTime); ; time.Sleep(pause) {
		err := wrong()
		if err == nil {
			return
		}
		if time.Now().After(end) {
			f.Errorf("not within %v: %s: %v", healTime, what, err)
			return
		}
	}
}

// checkRest looks at what is left when every process has ended.
func (w *watch) checkRest() {
	seen, err := w.look(w.Context())
	if err != nil {
		w.Error(err)
	}
	for name, now := range seen {
		if now.holder != "" || now.coded || now.queued != (now.desired == "running" && now.state != "FAILED") {
			w.Errorf("after the drain %s is left as %+v\n%s", name, now, w.story(name))
		}
	}
	if forgotten := w.sim.Stats().EventsForgotten; forgotten > 0 {
		w.Logf("the simulator has forgotten %d events", forgotten)
	}
	secrets := w.allSecrets()
	for _, program := range w.programs() {
		for _, p := range program.all() {
			p.check(secrets)
		}
	}
}
