package telemetry

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"time"
)

// Functions have nobody who scrapes them. They write metrics into their log, in
// CloudWatch's embedded metric format (EMF, as specified in the Amazon CloudWatch
// user guide): in a log of Lambda that is all it takes to publish them. Names are
// those that Prometheus would take, and where a connector serves the same, its.

const (
	namespace = "wafleet"
	fleetKey  = "fleet"
)

// Metric is a value with a name.
type Metric struct {
	Name  string
	Unit  string // of CloudWatch: Count, Seconds, None
	Value float64
}

// Series is metrics that are counted by the same labels, beside the fleet.
type Series struct {
	By      []string // names of labels of the line; nil: the fleet alone
	Metrics []Metric
}

// MetricWriter writes metrics of one fleet. It is safe for concurrent use where
// its writer is.
type MetricWriter struct {
	out   io.Writer
	fleet string
}

// NewMetricWriter returns a writer of metrics whose dimension "fleet" tells
// several deployments in one account apart.
func NewMetricWriter(out io.Writer, fleet string) *MetricWriter { return &MetricWriter{out, fleet} }

// maxFleet keeps clear of CloudWatch's own limit, which is 1024.
const maxFleet = 250

// CheckFleet returns what is wrong with the name of a fleet.
func CheckFleet(name string) error {
	if name == "" || len(name) > maxFleet {
		return errors.New("must have 1 to 250 characters")
	}
	return nil
}

// directive is what CloudWatch has to know of a line.
type directive struct {
	Namespace  string
	Dimensions [][]string
	Metrics    []definition
}

type definition struct{ Name, Unit string }

// Write writes one line. labels must take few values: each combination that a
// series has is paid for.
func (w *MetricWriter) Write(now time.Time, labels map[string]string, all ...Series) error {
	line := map[string]any{fleetKey: w.fleet}
	for name, value := range maps.All(labels) {
		line[name] = value
	}
	directives := make([]directive, len(all))
	for i, series := range all {
		directives[i] = directive{Namespace: namespace, Dimensions: [][]string{append([]string{fleetKey}, series.By...)}}
		for _, m := range series.Metrics {
			directives[i].Metrics = append(directives[i].Metrics, definition{m.Name, m.Unit})
			line[m.Name] = m.Value
		}
	}
	line["_aws"] = map[string]any{"Timestamp": now.UnixMilli(), "CloudWatchMetrics": directives}
	text, err := json.Marshal(line)
	if err == nil {
		_, err = w.out.Write(append(text, '\n')) // at once, or lines of others come between
	}
	if err != nil {
		return fmt.Errorf("write the metrics: %w", err)
	}
	return nil
}
