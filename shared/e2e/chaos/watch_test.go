package chaos

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/wafleet/wafleet/shared/wasim"
)

// pause between two looks.
const pause = 100 * time.Millisecond

// watch looks all the time and keeps what changed.
type watch struct {
	*fleet
	mu      sync.Mutex
	last    map[string]sight         // guarded by mu
	history map[string][]string      // guarded by mu
	holders map[string]string        // guarded by mu; of each session and epoch
	moving  map[string]move          // guarded by mu
	took    map[kind][]time.Duration // guarded by mu; from the fault to WORKING elsewhere
	slowest time.Duration            // guarded by mu; the longest of took
	slow    string                   // guarded by mu; and whose it was
	ailing  []ailment                // guarded by mu; faults that all is not well after yet
	healed  map[kind][]time.Duration // guarded by mu; from a fault's end until all was well
	failed  map[string]int           // guarded by mu; reasons seen with FAILED
	blamed  map[string]bool          // guarded by mu; sessions already complained about
	moves   int                      // guarded by mu; new holders seen
	doubled bool                     // guarded by mu; the simulator's complaint is made
}

// move is a session that must find another holder.
type move struct {
	why   kind
	since time.Time
	epoch int64
}

// ailment is a fault that has ended.
type ailment struct {
	kind  kind
	since time.Time
}

func newWatch(f *fleet) *watch {
	return &watch{
		fleet: f, last: map[string]sight{}, history: map[string][]string{}, holders: map[string]string{},
		moving: map[string]move{}, took: map[kind][]time.Duration{}, healed: map[kind][]time.Duration{}, failed: map[string]int{}, blamed: map[string]bool{},
	}
}

// run looks until ctx ends.
func (w *watch) run(ctx context.Context) {
	tick := time.NewTicker(pause)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		w.checkSim()
		excused := w.db.excuse()
		seen, err := w.look(ctx)
		switch {
		case err == nil:
			w.compare(seen)
			w.noteWell(seen)
		case ctx.Err() != nil:
			return
		case !excused():
			w.Errorf("look at the database: %v", err)
			return
		}
	}
}

func (w *watch) compare(seen map[string]sight) {
	for name, now := range seen {
		w.mu.Lock()
		wrong := w.compareOne(name, now)
		first := wrong != "" && !w.blamed[name]
		w.blamed[name] = w.blamed[name] || wrong != ""
		w.mu.Unlock()
		if first {
			w.Errorf("%s: %s\n%s", name, wrong, w.story(name))
		}
	}
}

// compareOne keeps what is new of a session and says what is wrong about it;
// w.mu is held.
func (w *watch) compareOne(name string, now sight) (wrong string) {
	before, known := w.last[name]
	if known && before.id != now.id { // another of that name
		known = false
		delete(w.moving, name)
	}
	w.last[name] = now
	if !known || before != now {
		w.history[name] = append(w.history[name], fmt.Sprintf("%s %s gen %d/%d epoch %d holder %s %s %s queued=%v",
			time.Now().Format("15:04:05.000"), now.desired, now.seen, now.generation, now.epoch, now.holder, now.state, now.why, now.queued))
	}
	wrong = now.wrong()
	if known && wrong == "" {
		wrong = now.wrongAfter(before)
	}
	if now.holder != "" {
		term := fmt.Sprintf("%s/%d", now.id, now.epoch)
		first, held := w.holders[term]
		if held && first != now.holder {
			wrong = fmt.Sprintf("epoch %d has two holders, %s and %s", now.epoch, first, now.holder)
		}
		if !held {
			w.moves++
		}
		w.holders[term] = now.holder
	}
	if now.state == "FAILED" {
		if !known || before.state != "FAILED" {
			w.failed[now.why]++
		}
		if !w.mayFail(name, now.why) {
			wrong = "it failed with " + now.why
		}
	}
	w.follow(name, now)
	return wrong
}

// follow measures how long a session that had to move took; w.mu is held.
func (w *watch) follow(name string, now sight) {
	m, ok := w.moving[name]
	switch {
	case !ok:
	case now.desired != "running":
		delete(w.moving, name)
	case now.epoch > m.epoch && now.state == "WORKING":
		took := time.Since(m.since)
		w.took[m.why] = append(w.took[m.why], took)
		if took > w.slowest {
			w.slowest, w.slow = took, name
		}
		delete(w.moving, name)
	}
}

// expectWell notes the end of a fault.
func (w *watch) expectWell(k kind) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.ailing = append(w.ailing, ailment{k, time.Now()})
}

// noteWell ends every ailment where all is well, which faults that began
// meanwhile delay.
func (w *watch) noteWell(seen map[string]sight) {
	sockets := 0
	for _, s := range seen {
		ok, open := s.well()
		if !ok {
			return
		}
		if open {
			sockets++
		}
	}
	if len(w.sockets(wasim.SilenceOff)) != sockets {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, a := range w.ailing {
		w.healed[a.kind] = append(w.healed[a.kind], time.Since(a.since))
	}
	w.ailing = nil
}

// mayFail reports whether what was done explains the failure.
func (f *fleet) mayFail(name, why string) bool {
	s := f.sessions[name]
	if s == nil { // it is deleted, and was checked under its name
		return true
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	switch why {
	case "LOGGED_OUT":
		return s.unlinked || s.halfway
	case "QR_EXPIRED":
		return s.waiting || s.unlinked || s.fresh
	case "PAIR_ERROR":
		return s.scanned
	case "CONNECT_FAILURE_503": // five refusals in a row; one step makes three at most
		return s.refused > 1
	}
	return false
}

// expectMoves notes that the sessions of a process must find another holder.
func (w *watch) expectMoves(p *process, why kind) {
	var ids []string
	for _, r := range p.registrations() {
		ids = append(ids, r.Connector)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	for name, now := range w.last {
		if now.state == "WORKING" && now.desired == "running" && slices.Contains(ids, now.holder) {
			w.moving[name] = move{why, time.Now(), now.epoch}
		}
	}
}

// checkSim asks the simulator whether a device was logged in twice, or a
// replaced socket went on.
func (w *watch) checkSim() {
	stats := w.sim.Stats()
	w.mu.Lock()
	first := !w.doubled && (stats.MaxSocketsPerDevice > 1 || stats.LateFrames > 0)
	w.doubled = w.doubled || first
	w.mu.Unlock()
	if first {
		w.Errorf("a device was logged in %d times at once, %d late frames: %+v\n%s",
			stats.MaxSocketsPerDevice, stats.LateFrames, stats, w.storiesOf(w.sim.Devices()))
	}
}

// storiesOf tells of the devices that were logged in more than once.
func (w *watch) storiesOf(devices []wasim.DeviceInfo) (stories string) {
	for _, device := range devices {
		if device.MaxSockets <= 1 {
			continue
		}
		for name, s := range w.sessions {
			s.mu.Lock()
			its := s.jid == device.JID
			s.mu.Unlock()
			if its {
				stories += w.story(name) + "\n"
			}
		}
	}
	return stories
}
