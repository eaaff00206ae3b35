package chaos

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"
)

// sight is what the database says of a session.
type sight struct {
	epoch                int64
	holder, state, why   string
	desired, jid         string
	generation, seen     int64
	coded, queued, alive bool
}

const look = `
SELECT s.id, s.name, s.desired, s.generation, r.seen_generation, r.epoch, COALESCE(r.holder, ''), r.state,
    COALESCE(r.reason_code, ''), COALESCE(r.jid, ''), p.codes IS NOT NULL OR p.code IS NOT NULL,
    j.session_id IS NOT NULL, COALESCE(c.lease_until > now(), false)
FROM session s JOIN session_run r ON r.session_id = s.id JOIN pairing p ON p.session_id = s.id
LEFT JOIN start_job j ON j.session_id = s.id LEFT JOIN connector c ON c.id = r.holder`

// look reads every session.
func (f *fleet) look(ctx context.Context) (map[string]sight, error) {
	rows, err := f.db.QueryContext(ctx, look)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	seen := map[string]sight{}
	for rows.Next() {
		var (
			id, name string
			s        sight
		)
		if err := rows.Scan(&id, &name, &s.desired, &s.generation, &s.seen, &s.epoch, &s.holder, &s.state, &s.why, &s.jid, &s.coded, &s.queued, &s.alive); err != nil {
			return nil, err
		}
		seen[name] = s
		if known := f.sessions[name]; known != nil {
			known.mu.Lock()
			known.id = id
			known.mu.Unlock()
		}
	}
	return seen, rows.Err()
}

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
	failed  map[string]int           // guarded by mu; reasons seen with FAILED
	blamed  map[string]bool          // guarded by mu; sessions already complained about
}

// move is a session that must find another holder.
type move struct {
	why   kind
	since time.Time
	epoch int64
}

func newWatch(f *fleet) *watch {
	return &watch{
		fleet: f, last: map[string]sight{}, history: map[string][]string{}, holders: map[string]string{},
		moving: map[string]move{}, took: map[kind][]time.Duration{}, failed: map[string]int{}, blamed: map[string]bool{},
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
		seen, err := w.look(ctx)
		if err != nil {
			if ctx.Err() == nil {
				w.Errorf("look at the database: %v", err)
			}
			return
		}
		w.compare(seen)
	}
}

func (w *watch) compare(seen map[string]sight) {
	for name, now := range seen {
		w.mu.Lock()
		before, known := w.last[name]
		w.last[name] = now
		if !known || before != now {
			w.history[name] = append(w.history[name], fmt.Sprintf("%s %s gen %d/%d epoch %d holder %s %s %s queued=%v",
				time.Now().Format("15:04:05.000"), now.desired, now.seen, now.generation, now.epoch, now.holder, now.state, now.why, now.queued))
		}
		var wrong string
		if known && now.epoch < before.epoch {
			wrong = fmt.Sprintf("its epoch went from %d to %d", before.epoch, now.epoch)
		}
		if now.holder != "" {
			term := fmt.Sprintf("%s/%d", name, now.epoch)
			if first, ok := w.holders[term]; ok && first != now.holder {
				wrong = fmt.Sprintf("epoch %d has two holders, %s and %s", now.epoch, first, now.holder)
			}
			w.holders[term] = now.holder
		}
		if now.state == "FAILED" && (!known || before.state != "FAILED") {
			w.failed[now.why]++
		}
		if now.state == "FAILED" && !w.mayFail(name, now.why) {
			wrong = "it failed with " + now.why
		}
		if m, ok := w.moving[name]; ok {
			switch {
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
		first := wrong != "" && !w.blamed[name]
		w.blamed[name] = w.blamed[name] || wrong != ""
		w.mu.Unlock()
		if first {
			w.Errorf("%s: %s\n%s", name, wrong, w.story(name))
		}
	}
}

// mayFail reports whether what was done explains the failure.
func (f *fleet) mayFail(name, why string) bool {
	s := f.sessions[name]
	s.mu.Lock()
	defer s.mu.Unlock()
	switch why {
	case "LOGGED_OUT":
		return s.unlinked
	case "QR_EXPIRED":
		return s.waiting || s.unlinked
	case "PAIR_ERROR":
		return s.scanned
	}
	return false
}

// expectMoves notes that the sessions of a process must find another holder.
func (w *watch) expectMoves(p *process, why kind) {
	ids := p.connectors()
	w.mu.Lock()
	defer w.mu.Unlock()
	for name, now := range w.last {
		if now.state == "WORKING" && now.desired == "running" && slices.Contains(ids, now.holder) {
			w.moving[name] = move{why, time.Now(), now.epoch}
		}
	}
}
