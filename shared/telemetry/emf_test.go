package telemetry

import (
	"bytes"
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestALineIsWhatCloudWatchReads(t *testing.T) {
	var out bytes.Buffer
	w := NewMetricWriter(&out, "staging")
	err := w.Write(time.UnixMilli(1700000000123), map[string]string{"route": "GET /x", "class": "2xx"},
		Series{Metrics: []Metric{{"wafleet_a_total", "Count", 2}}},
		Series{By: []string{"route"}, Metrics: []Metric{{"wafleet_b_seconds", "Seconds", 0.25}}},
	)
	if err != nil {
		t.Fatal(err)
	}
	const want = `{
		"_aws": {"Timestamp": 1700000000123, "CloudWatchMetrics": [
			{"Namespace": "wafleet", "Dimensions": [["fleet"]], "Metrics": [{"Name": "wafleet_a_total", "Unit": "Count"}]},
			{"Namespace": "wafleet", "Dimensions": [["fleet", "route"]], "Metrics": [{"Name": "wafleet_b_seconds", "Unit": "Seconds"}]}
		]},
		"fleet": "staging", "route": "GET /x", "class": "2xx", "wafleet_a_total": 2, "wafleet_b_seconds": 0.25
	}`
	var got, wanted any
	if err := json.Unmarshal(out.Bytes(), &got); err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal([]byte(want), &wanted); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(wanted, got); diff != "" || strings.Count(out.String(), "\n") != 1 {
		t.Errorf("(-want +got)\n%s", diff)
	}
}

type broken struct{}

func (broken) Write([]byte) (int, error) { return 0, errors.New("full") }

func TestAMetricThatCannotBeWritten(t *testing.T) {
	if err := NewMetricWriter(broken{}, "x").Write(time.Now(), nil); err == nil {
		t.Error("no error")
	}
}

func TestNamesOfFleets(t *testing.T) {
	for name, ok := range map[string]bool{"": false, "x": true, strings.Repeat("x", 250): true, strings.Repeat("x", 251): false} {
		if err := CheckFleet(name); (err == nil) != ok {
			t.Errorf("%d characters: %v", len(name), err)
		}
	}
}
