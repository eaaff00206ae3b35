// Package compare is the table of `make bench`: figures of wafleet beside those of
// bare whatsmeow clients, taken in turn in the same run, and the aims.
package compare

import (
	"encoding/json"
	"fmt"
	"io"
	"math"
	"os"
	"slices"
	"strings"
	"sync"
	"text/tabwriter"
)

// Aim is what a figure should be, given the bare one, which is NaN where there is
// none.
type Aim struct {
	Text string
	Met  func(wafleet, bare float64) bool
}

// AtMost is a limit by itself.
func AtMost(limit float64) Aim {
	return Aim{fmt.Sprintf("<= %s", short(limit)), func(wafleet, _ float64) bool { return wafleet <= limit }}
}

// AtLeast is a limit from below.
func AtLeast(limit float64) Aim {
	return Aim{fmt.Sprintf(">= %s", short(limit)), func(wafleet, _ float64) bool { return wafleet >= limit }}
}

// Within is a value and how far from it a figure may be, as a share.
func Within(value, share float64) Aim {
	return Aim{fmt.Sprintf("%s +-%s %%", short(value), short(100*share)), func(wafleet, _ float64) bool { return math.Abs(wafleet-value) <= share*value }}
}

// Times is a limit as a multiple of the bare figure.
func Times(ratio float64) Aim {
	return Aim{fmt.Sprintf("<= %s x bare", short(ratio)), func(wafleet, bare float64) bool { return wafleet <= ratio*bare }}
}

// Over is a limit as a distance from the bare figure.
func Over(more float64) Aim {
	return Aim{fmt.Sprintf("<= bare + %s", short(more)), func(wafleet, bare float64) bool { return wafleet <= bare+more }}
}

// And is all of the aims.
func And(aims ...Aim) Aim {
	texts := make([]string, len(aims))
	for i, a := range aims {
		texts[i] = a.Text
	}
	return Aim{strings.Join(texts, ", "), func(wafleet, bare float64) bool {
		return !slices.ContainsFunc(aims, func(a Aim) bool { return !a.Met(wafleet, bare) })
	}}
}

// None is for a figure that is only shown.
var None = Aim{"", func(float64, float64) bool { return true }}

// Row is a figure in the table. Spread is how far apart the rounds of wafleet
// were, as a share of the median.
type Row struct {
	Name    string   `json:"name"`
	Unit    string   `json:"unit"`
	Bare    *float64 `json:"bare"` // null: a bare client has none
	Wafleet float64  `json:"wafleet"`
	Ratio   *float64 `json:"ratio"`
	Aim     string   `json:"aim"`
	Met     bool     `json:"met"`
	Spread  float64  `json:"spread"`
	Rounds  int      `json:"rounds"`
}

// Table collects rows. Safe for concurrent use.
type Table struct {
	mu   sync.Mutex
	rows []Row // guarded by mu
}

// Add makes a row of the medians of what the rounds gave. bare may be empty.
func (t *Table) Add(name, unit string, bare, wafleet []float64, aim Aim) {
	if len(wafleet) == 0 {
		return
	}
	row := Row{Name: name, Unit: unit, Wafleet: Median(wafleet), Aim: aim.Text, Rounds: len(wafleet)}
	if row.Wafleet != 0 {
		row.Spread = (slices.Max(wafleet) - slices.Min(wafleet)) / row.Wafleet
	}
	other := math.NaN()
	if len(bare) > 0 {
		other = Median(bare)
		row.Bare = &other
		if other != 0 {
			ratio := row.Wafleet / other
			row.Ratio = &ratio
		}
	}
	row.Met = aim.Met(row.Wafleet, other)
	t.mu.Lock()
	defer t.mu.Unlock()
	t.rows = append(t.rows, row)
}

// Median is the middle of some values, or the mean of the two there.
func Median(values []float64) float64 {
	sorted := slices.Sorted(slices.Values(values))
	middle := len(sorted) / 2
	if len(sorted)%2 == 1 {
		return sorted[middle]
	}
	return (sorted[middle-1] + sorted[middle]) / 2
}

// Rows are the rows so far.
func (t *Table) Rows() []Row {
	t.mu.Lock()
	defer t.mu.Unlock()
	return slices.Clone(t.rows)
}

// Write prints the table for people.
func (t *Table) Write(to io.Writer) error {
	w := tabwriter.NewWriter(to, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "figure\tunit\tbare\twafleet\tratio\taim\tmet\tspread")
	for _, r := range t.Rows() {
		bare, ratio := "-", "-"
		if r.Bare != nil {
			bare = short(*r.Bare)
		}
		if r.Ratio != nil {
			ratio = fmt.Sprintf("%.2f", *r.Ratio)
		}
		met := map[bool]string{true: "yes", false: "NO"}[r.Met]
		if r.Aim == "" {
			met = ""
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\t%s\t%.0f %% of %d\n", r.Name, r.Unit, bare, short(r.Wafleet), ratio, r.Aim, met, 100*r.Spread, r.Rounds)
	}
	return w.Flush()
}

// WriteJSON writes the rows to a file, an array of [Row].
func (t *Table) WriteJSON(path string) error {
	encoded, err := json.MarshalIndent(t.Rows(), "", "  ")
	if err != nil {
		return err
	}
	return os.WriteFile(path, append(encoded, '\n'), 0o600) // #nosec G703 -- the file that the user names
}

// short prints three figures and no more.
func short(v float64) string {
	switch digits := 2 - int(math.Floor(math.Log10(math.Max(math.Abs(v), 0.001)))); {
	case v == math.Trunc(v):
		return fmt.Sprintf("%.0f", v)
	case digits > 0:
		return fmt.Sprintf("%.*f", digits, v)
	}
	return fmt.Sprintf("%.0f", v)
}
