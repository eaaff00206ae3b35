package chaos

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
)

func (f *fleet) allSecrets() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return append([]string(nil), f.secrets...)
}

// storyLines is how many of the last lines of each source a story has.
const storyLines = 40

// story is everything known about one session.
func (w *watch) story(name string) string {
	s := w.sessions[name]
	if s == nil {
		return ""
	}
	s.mu.Lock()
	id, jid := s.id, s.jid
	s.mu.Unlock()
	w.mu.Lock()
	history := slices.Clone(w.history[name])
	w.mu.Unlock()
	var b strings.Builder
	fmt.Fprintf(&b, "--- %s (%s) in the database:\n%s\n--- at the simulator:\n", name, id, lastLines(history))
	var events []string
	for _, e := range w.sim.Events() {
		if jid != "" && e.JID == jid {
			events = append(events, fmt.Sprintf("%s conn %d %s %s", e.Time.Format("15:04:05.000"), e.Conn, e.Kind, e.Detail))
		}
	}
	b.WriteString(lastLines(events))
	for _, m := range w.members {
		for _, p := range m.all() {
			var lines []string
			for line := range strings.Lines(p.log.String()) {
				if strings.Contains(line, id) && !strings.Contains(line, `"DEBUG"`) || strings.Contains(line, "the lease") {
					lines = append(lines, strings.TrimSpace(line))
				}
			}
			fmt.Fprintf(&b, "\n--- in the log of %s:\n%s", p.name, lastLines(lines))
		}
	}
	return b.String()
}

func lastLines(lines []string) string {
	return strings.Join(lines[max(0, len(lines)-storyLines):], "\n")
}

// summary is the table at the end.
func (d *driver) summary(sc scenario, healed time.Duration, resources []string) string {
	var b strings.Builder
	line := func(what, format string, args ...any) {
		fmt.Fprintf(&b, "  %-34s %s\n", what, fmt.Sprintf(format, args...))
	}
	stats := d.sim.Stats()
	fmt.Fprintf(&b, "\nchaos, seed %d, %v: healed %v after the last fault\n", sc.seed, sc.lasts, healed.Round(10*time.Millisecond))
	d.mu.Lock()
	defer d.mu.Unlock()
	d.watch.mu.Lock()
	defer d.watch.mu.Unlock()
	for _, k := range slices.Sorted(maps.Keys(d.count)) {
		line(string(k), "%4d; all was well after it: %s", d.count[k], distribution(d.watch.healed[k]))
	}
	line("at WhatsApp", "logins %d, refused %d, replaced %d, overlaps %d, most sockets per device %d, late frames %d",
		stats.Logins, stats.Failures, stats.Replaced, stats.Overlaps, stats.MaxSocketsPerDevice, stats.LateFrames)
	line("calls of the API", "%d answered, %d times 503, %d times not there",
		d.calls.answered.Load(), d.calls.unavailable.Load(), d.calls.unreachable.Load())
	for _, program := range slices.Sorted(maps.Keys(d.left)) {
		line(program+", SIGTERM to exit", "%s", distribution(d.left[program]))
	}
	for _, k := range []kind{kill, killReported, freeze, replace} {
		line(string(k)+" to WORKING elsewhere", "%s", distribution(d.watch.took[k]))
	}
	line("terms seen", "%4d", d.watch.moves)
	line("device files taken over", "%4d", d.said("going on with a copy"))
	line("leases lost", "%4d", d.said("every session is given up"))
	line("device stores not opened", "%4d", d.said("could not be opened"))
	for _, text := range resources {
		line("open", "%s", text)
	}
	if d.watch.slow != "" {
		line("slowest", "%s, in the database:\n    %s", d.watch.slow, strings.ReplaceAll(lastLines(d.watch.history[d.watch.slow]), "\n", "\n    "))
	}
	line("FAILED along the way", "%v", d.watch.failed)
	return b.String()
}

// said counts a text in all logs.
func (f *fleet) said(text string) (n int) {
	for _, m := range f.members {
		for _, p := range m.all() {
			n += strings.Count(p.log.String(), text)
		}
	}
	return n
}

func distribution(took []time.Duration) string {
	if len(took) == 0 {
		return "-"
	}
	slices.Sort(took)
	at := func(percent int) time.Duration { return took[len(took)*percent/100].Round(10 * time.Millisecond) }
	return fmt.Sprintf("n=%d p50=%v p90=%v p99=%v max=%v", len(took), at(50), at(90), at(99), took[len(took)-1].Round(10*time.Millisecond))
}
