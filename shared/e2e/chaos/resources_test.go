package chaos

import (
	"bufio"
	"fmt"
	"net/http"
	"strconv"
	"strings"
)

// sample is what a process has open, and how many sessions it holds.
type sample struct {
	process                 string
	held, goroutines, files float64
}

func (s sample) String() string {
	return fmt.Sprintf("%s holds %.0f sessions with %.0f goroutines and %.0f files", s.process, s.held, s.goroutines, s.files)
}

// measure samples every connector that runs.
func (f *fleet) measure() (all []sample, err error) {
	for _, m := range f.members {
		p := m.running()
		if p == nil {
			continue
		}
		values, err := p.metrics()
		if err != nil {
			return nil, fmt.Errorf("metrics of %s: %w", p.name, err)
		}
		all = append(all, sample{p.name, values["wafleet_connector_sessions_held"], values["go_goroutines"], values["process_open_fds"]})
	}
	return all, nil
}

// usual is what a connector has open for itself and for each session.
type usual struct{ goroutines, goroutinesEach, files, filesEach float64 }

// usualOf works it out from two quiet moments, before and after the sessions
// were made.
func usualOf(idle, full []sample) (u usual) {
	for _, s := range idle {
		u.goroutines, u.files = max(u.goroutines, s.goroutines), max(u.files, s.files)
	}
	for _, s := range full {
		if s.held > 0 {
			u.goroutinesEach = max(u.goroutinesEach, (s.goroutines-u.goroutines)/s.held)
			u.filesEach = max(u.filesEach, (s.files-u.files)/s.held)
		}
	}
	return u
}

// What a process may have open beyond what is usual: a call in flight, idle
// connections of a pool that was busy. It is less than one thing left by each
// of the faults of a run of minutes.
const moreGoroutines, moreFiles = 25, 20

// checkResources compares every connector with what is usual, and returns a line
// about each.
func (f *fleet) checkResources(u usual) (lines []string) {
	lines = append(lines, fmt.Sprintf("usual: %.0f goroutines and %.0f files, and for each session %.1f and %.1f", u.goroutines, u.files, u.goroutinesEach, u.filesEach))
	f.await("connectors are back to what is usual", func() error {
		lines = lines[:1]
		all, err := f.measure()
		for _, s := range all {
			lines = append(lines, s.String())
			if s.goroutines > u.goroutines+u.goroutinesEach*s.held+moreGoroutines || s.files > u.files+u.filesEach*s.held+moreFiles {
				return fmt.Errorf("%s; %s", s, lines[0])
			}
		}
		return err
	})
	n, err := f.db.backends()
	if limit := (len(lines) - 1) * databaseMaxConns; err != nil || n > limit {
		f.Errorf("the connectors have %d connections to Postgres of %d, error %v", n, limit, err)
	}
	return append(lines, fmt.Sprintf("connectors have %d connections to Postgres", n))
}

// metrics reads the process's own numbers.
func (p *process) metrics() (map[string]float64, error) {
	entries := p.registrations()
	if len(entries) == 0 {
		return nil, fmt.Errorf("%s has not registered", p.name)
	}
	response, err := http.Get("http://" + entries[len(entries)-1].Address + "/metrics")
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	values := map[string]float64{}
	scanner := bufio.NewScanner(response.Body)
	for scanner.Scan() {
		if name, value, ok := strings.Cut(scanner.Text(), " "); ok {
			values[name], _ = strconv.ParseFloat(value, 64) // a comment is no number
		}
	}
	return values, scanner.Err()
}
