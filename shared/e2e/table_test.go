package e2e

import (
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"text/tabwriter"
	"time"
)

// table is the outcome of a benchmark of many figures.
type table struct {
	began time.Time

	mu    sync.Mutex
	lines [][]string // guarded by mu
}

func newTable() *table { return &table{began: time.Now()} }

// row adds a figure that has an aim. A missed aim is printed, no more: what the
// figures are depends on the machine.
func (t *table) row(name string, value fmt.Stringer, aim string, met bool) {
	t.add(name, value.String(), aim, map[bool]string{true: "yes", false: "NO"}[met])
}

// figure adds a value that has no aim.
func (t *table) figure(name, value string) { t.add(name, value, "", "") }

// invariant adds what must hold on every machine, and fails the benchmark where
// it does not.
func (t *table) invariant(b *testing.B, name, value, aim string, holds bool) {
	b.Helper()
	t.add(name, value, aim, map[bool]string{true: "yes", false: "BROKEN"}[holds])
	if !holds {
		b.Errorf("%s: %s, must be %s", name, value, aim)
	}
}

func (t *table) add(cells ...string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.lines = append(t.lines, cells)
}

// text makes a fmt.Stringer of a format.
type text string

func textf(format string, args ...any) text { return text(fmt.Sprintf(format, args...)) }

func (t text) String() string { return string(t) }

// say tells who watches what goes on: the whole takes minutes.
func (t *table) say(format string, args ...any) {
	fmt.Printf("%s +%6.1f s  %s\n", time.Now().Format("15:04:05"), time.Since(t.began).Seconds(), fmt.Sprintf(format, args...))
}

func (t *table) print() { t.write(os.Stdout) }

func (t *table) write(to io.Writer) {
	t.mu.Lock()
	defer t.mu.Unlock()
	w := tabwriter.NewWriter(to, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w)
	for _, cells := range slices.Concat([][]string{{"what", "value", "aim", "met"}}, t.lines) {
		fmt.Fprintln(w, strings.Join(cells, "\t"))
	}
	fmt.Fprintln(w)
	w.Flush()
}
