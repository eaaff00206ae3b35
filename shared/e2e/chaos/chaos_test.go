package chaos

import (
	"context"
	"fmt"
	"maps"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// What the environment may change; see make chaos.
var (
	verbose   = os.Getenv("CHAOS") != ""
	only      = os.Getenv("CHAOS_ONLY")             // kinds, separated by commas; the rest is left out
	keepGoing = os.Getenv("CHAOS_KEEP_GOING") != "" // after a failure
)

// healTime is how soon everything is well again when the faults have ended.
const healTime = 30 * time.Second

// maxStories is how many sessions are told about in full.
const maxStories = 3

func TestChaos(t *testing.T) {
	lasts, seed, paired, waiting := 8*time.Second, uint64(1), 12, 2
	if text := os.Getenv("CHAOS"); text != "" {
		var err error
		if lasts, err = time.ParseDuration(text); err != nil {
			t.Fatalf("CHAOS: %v", err)
		}
		seed, paired, waiting = uint64(time.Now().UnixNano()%1e9), 30, 4
	}
	if text := os.Getenv("CHAOS_SEED"); text != "" {
		var err error
		if seed, err = strconv.ParseUint(text, 10, 64); err != nil {
			t.Fatalf("CHAOS_SEED: %v", err)
		}
	}
	const lease = 4 * time.Second
	f := newFleet(t, 3, lease)
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("seed %d; what was done:\n%s", seed, strings.Join(f.done, "\n"))
		}
	})
	f.say("chaos for %v with seed %d: %d linked sessions, %d that wait for a scan", lasts, seed, paired, waiting)
	linkedNames, waitingNames := f.populate(paired, waiting)
	if t.Failed() {
		return
	}
	w := newWatch(f)
	d := &driver{fleet: f, watch: w, count: map[kind]int{}}
	watching, stopWatching := context.WithCancel(t.Context())
	var helpers sync.WaitGroup
	helpers.Go(func() { w.run(watching) })
	steps := plan(seed, lasts, lease, len(f.members), linkedNames, waitingNames)
	d.run(t.Context(), steps)
	f.say("the faults have ended")
	healed := w.heal()
	f.say("healed after %v", healed.Round(10*time.Millisecond))
	stopWatching()
	helpers.Wait()
	w.checkSim()
	resources := w.checkResources()
	d.leave()
	w.checkRest()
	if summary := d.summary(seed, lasts, healed, resources); verbose {
		fmt.Println(summary)
	} else {
		t.Log(summary)
	}
}

// populate makes the sessions, half of them on sqlite3.
func (f *fleet) populate(linked, waiting int) (linkedNames, waitingNames []string) {
	bodies := []string{
		`{"config":{"store":{"dialect":"sqlite3","address":"/app/data/whatsmeow.db"},"log":{"level":"DEBUG"}}}`,
		`{"config":{"store":{"dialect":"postgres"},"log":{"level":"DEBUG"}}}`,
	}
	for i := range linked {
		linkedNames = append(linkedNames, fmt.Sprintf("linked%d", i))
	}
	for i := range waiting {
		waitingNames = append(waitingNames, fmt.Sprintf("waiting%d", i))
	}
	for i, name := range slices.Concat(linkedNames, waitingNames) {
		f.sessions[name] = &state{name: name, waiting: i >= linked}
	}
	var work sync.WaitGroup
	slots := make(chan struct{}, 6)
	for i, name := range slices.Concat(linkedNames, waitingNames) {
		slots <- struct{}{}
		work.Go(func() {
			defer func() { <-slots }()
			s := f.sessions[name]
			f.start(f.Context(), s, bodies[i%len(bodies)])
			if s.waiting {
				return
			}
			if err := f.link(f.Context(), s); err != nil {
				f.Errorf("link %s: %v", name, err)
				return
			}
			for end := time.Now().Add(healTime); ; time.Sleep(pause) {
				status, _ := f.status(f.Context(), name)
				if status == "WORKING" {
					return
				}
				if time.Now().After(end) {
					f.Errorf("%s is %s", name, status)
					return
				}
			}
		})
	}
	work.Wait()
	return linkedNames, waitingNames
}

// heal waits until everything is as the users want it and returns how long that
// took.
func (w *watch) heal() time.Duration {
	began := time.Now()
	for {
		wrong := w.wrong()
		if len(wrong) == 0 {
			return time.Since(began)
		}
		if time.Since(began) > healTime {
			for i, name := range slices.Sorted(maps.Keys(wrong)) {
				story := ""
				if i < maxStories {
					story = w.story(name)
				}
				w.Errorf("%v after the last fault %s: %s\n%s", healTime, name, wrong[name], story)
			}
			return time.Since(began)
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
	for name, s := range w.sessions {
		now := seen[name]
		s.mu.Lock()
		wanted, jid, unlinked, waiting := s.wanted, s.jid, s.unlinked, s.waiting
		s.mu.Unlock()
		shown, reason := w.status(w.Context(), name)
		if shown == "WORKING" || shown == "SCAN_QR_CODE" {
			sockets++
		}
		switch {
		case !wanted && (now.holder != "" || shown != "STOPPED" || now.queued):
			wrong[name] = fmt.Sprintf("it is not wanted, shown as %s, held by %q, queued %v", shown, now.holder, now.queued)
		case wanted && shown == "FAILED" && (now.holder != "" || !w.mayFail(name, reason)):
			wrong[name] = fmt.Sprintf("it failed with %s, held by %q", reason, now.holder)
		case wanted && shown == "SCAN_QR_CODE" && !(waiting || unlinked):
			wrong[name] = "it asks for a scan, but it is linked"
		case wanted && shown != "WORKING" && shown != "SCAN_QR_CODE" && shown != "FAILED":
			wrong[name] = "it is " + shown + " " + reason
		case wanted && now.queued:
			wrong[name] = "its start job waits"
		case now.coded && shown != "SCAN_QR_CODE":
			wrong[name] = "its codes are left"
		case !waiting && !unlinked && now.jid != jid:
			wrong[name] = fmt.Sprintf("it has device %q, not %q", now.jid, jid)
		}
	}
	if open := w.sim.Stats().Open; len(wrong) == 0 && open != sockets {
		wrong["sockets"] = fmt.Sprintf("%d are open for %d sessions: %+v", open, sockets, w.sim.Connections())
	}
	return wrong
}

// checkSim asks the simulator what it saw.
func (w *watch) checkSim() {
	stats := w.sim.Stats()
	if stats.MaxSocketsPerDevice > 1 || stats.LateFrames > 0 {
		var doubled []string
		for _, device := range w.sim.Devices() {
			for name, s := range w.sessions {
				if device.MaxSockets > 1 && s.jid == device.JID {
					doubled = append(doubled, w.story(name))
				}
			}
		}
		w.Errorf("a device was logged in %d times at once, %d late frames: %+v\n%s",
			stats.MaxSocketsPerDevice, stats.LateFrames, stats, strings.Join(doubled, "\n"))
	}
	if stats.EventsForgotten > 0 {
		w.Logf("the simulator has forgotten %d events", stats.EventsForgotten)
	}
}

// leave ends every process in order.
func (d *driver) leave() {
	var leaving sync.WaitGroup
	for _, m := range d.members {
		leaving.Go(func() {
			took := m.running().leave()
			d.mu.Lock()
			defer d.mu.Unlock()
			d.left = append(d.left, took)
		})
	}
	leaving.Wait()
	for end := time.Now().Add(healTime / 3); d.sim.Stats().Open != 0; time.Sleep(pause) { // the links pass the end on
		if time.Now().After(end) {
			d.Errorf("sockets are open after the end of every connector: %+v", d.sim.Connections())
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
	secrets := w.allSecrets()
	for _, m := range w.members {
		for _, p := range m.all() {
			p.check(secrets)
		}
	}
}
