package compare

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestTheTable(t *testing.T) {
	t.Parallel()
	var table Table
	table.Add("memory", "KB", []float64{150, 100, 120}, []float64{130, 140, 120}, And(Times(1.1), AtMost(145)))
	table.Add("too slow", "ms", nil, []float64{20, 10}, AtMost(14))
	table.Add("rate", "1/s", nil, []float64{24}, Within(25, 0.05))
	table.Add("goroutines", "", []float64{4}, []float64{5}, Over(1))
	table.Add("claims", "1/s", nil, []float64{6000}, AtLeast(5000))
	table.Add("shown", "s", nil, []float64{0.0123}, None)
	table.Add("not measured", "s", []float64{1}, nil, AtMost(1))

	var text strings.Builder
	if err := table.Write(&text); err != nil {
		t.Fatal(err)
	}
	want := []string{
		"figure unit bare wafleet ratio aim met spread",
		"memory KB 120 130 1.08 <= 1.10 x bare, <= 145 yes 15 % of 3",
		"too slow ms - 15 - <= 14 NO 67 % of 2",
		"rate 1/s - 24 - 25 +-5 % yes 0 % of 1",
		"goroutines 4 5 1.25 <= bare + 1 yes 0 % of 1",
		"claims 1/s - 6000 - >= 5000 yes 0 % of 1",
		"shown s - 0.0123 - 0 % of 1",
	}
	var got []string
	for line := range strings.Lines(text.String()) {
		got = append(got, strings.Join(strings.Fields(line), " "))
	}
	if strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}

	file := filepath.Join(t.TempDir(), "bench.json")
	if err := table.WriteJSON(file); err != nil {
		t.Fatal(err)
	}
	content, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var rows []map[string]any
	if err := json.Unmarshal(content, &rows); err != nil || len(rows) != 6 {
		t.Fatalf("%d rows, error %v:\n%s", len(rows), err, content)
	}
	if rows[0]["bare"] != 120.0 || rows[0]["met"] != true || rows[1]["bare"] != nil || rows[1]["met"] != false {
		t.Errorf("%v", rows)
	}
}

func TestMedian(t *testing.T) {
	t.Parallel()
	values := []float64{4, 1, 3, 2}
	if Median(values) != 2.5 || Median(values[:3]) != 3 {
		t.Error(Median(values), Median(values[:3]))
	}
}
