package chaos

import (
	"bufio"
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"strings"
)

// What a process may have open when all is quiet: for itself, and for each
// session it holds. Twice of what is usual, so that only a leak is more.
const (
	ownGoroutines, goroutinesEach = 50, 12
	ownFiles, filesEach           = 40, 6
)

// checkResources asks every process what it has open, and returns a line about
// each.
func (w *watch) checkResources() (lines []string) {
	for _, m := range w.members {
		p := m.running()
		values, err := p.metrics()
		if err != nil {
			w.Errorf("metrics of %s: %v", p.name, err)
			continue
		}
		held, goroutines, files := values["wafleet_connector_sessions_held"], values["go_goroutines"], values["process_open_fds"]
		line := fmt.Sprintf("%s holds %.0f sessions with %.0f goroutines and %.0f files", p.name, held, goroutines, files)
		lines = append(lines, line)
		if goroutines > ownGoroutines+goroutinesEach*held || files > ownFiles+filesEach*held {
			w.Errorf("%s, which is too many", line)
		}
	}
	return lines
}

// metrics reads the process's own numbers.
func (p *process) metrics() (map[string]float64, error) {
	address := ""
	for line := range strings.Lines(p.log.String()) {
		var said struct{ Msg, Address string }
		if json.Unmarshal([]byte(line), &said) == nil && said.Msg == "connector registered" {
			address = said.Address
		}
	}
	response, err := http.Get("http://" + address + "/metrics")
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
