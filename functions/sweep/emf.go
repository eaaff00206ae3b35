package main

import (
	"encoding/json"
	"fmt"
	"io"
	"time"
)

// namespace of the metrics in CloudWatch; their one dimension is "fleet".
const namespace = "wafleet"

// metric is one value with a name that Prometheus would take. What a connector
// counts too has the connector's name for it, and means the sum over all.
type metric struct {
	Name  string  `json:"Name"`
	Unit  string  `json:"Unit"`
	value float64 // goes into the root of the line
}

// metrics of a sweep. wafleet_fleet_slots leaves draining connectors out, and so
// is no sum of wafleet_connector_slots.
func metrics(found summary) []metric {
	return []metric{
		{"wafleet_fleet_sessions_wanted", "Count", float64(found.Wanted)},
		{"wafleet_connector_sessions_held", "Count", float64(found.Held)},
		{"wafleet_fleet_sessions_unplaced", "Count", float64(found.Unplaced)},
		{"wafleet_fleet_oldest_job_seconds", "Seconds", found.OldestJobSeconds},
		{"wafleet_fleet_connectors_alive", "Count", float64(found.ConnectorsAlive)},
		{"wafleet_fleet_slots", "Count", float64(found.Slots)},
		{"wafleet_fleet_slots_free", "Count", float64(found.SlotsFree)},
		{"wafleet_fleet_client_outdated_share", "None", found.OutdatedShare},
		{"wafleet_fleet_sessions_failed", "Count", float64(found.Failed)},
		{"wafleet_fleet_orphans_found", "Count", float64(found.Orphans)},
	}
}

// publish writes the metrics as one line in CloudWatch's embedded metric format,
// as specified in the Amazon CloudWatch user guide. In a log of Lambda that is
// all it takes to publish them.
func publish(out io.Writer, fleet string, now time.Time, all []metric) error {
	line := map[string]any{"fleet": fleet, "_aws": map[string]any{
		"Timestamp": now.UnixMilli(),
		"CloudWatchMetrics": []any{map[string]any{
			"Namespace": namespace, "Dimensions": [][]string{{"fleet"}}, "Metrics": all,
		}},
	}}
	for _, m := range all {
		line[m.Name] = m.value
	}
	if err := json.NewEncoder(out).Encode(line); err != nil {
		return fmt.Errorf("write the metrics: %w", err)
	}
	return nil
}
