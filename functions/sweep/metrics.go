package main

import "github.com/wafleet/wafleet/shared/telemetry"

// metrics of a sweep. What a connector counts too has the connector's name for
// it, and means the sum over all; wafleet_fleet_slots leaves draining connectors
// out, and so is no sum of wafleet_connector_slots.
func metrics(found summary) telemetry.Series {
	return telemetry.Series{Metrics: []telemetry.Metric{
		{Name: "wafleet_fleet_sessions_wanted", Unit: "Count", Value: float64(found.Wanted)},
		{Name: "wafleet_connector_sessions_held", Unit: "Count", Value: float64(found.Held)},
		{Name: "wafleet_fleet_sessions_unplaced", Unit: "Count", Value: float64(found.Unplaced)},
		{Name: "wafleet_fleet_oldest_job_seconds", Unit: "Seconds", Value: found.OldestJobSeconds},
		{Name: "wafleet_fleet_connectors_alive", Unit: "Count", Value: float64(found.ConnectorsAlive)},
		{Name: "wafleet_fleet_slots", Unit: "Count", Value: float64(found.Slots)},
		{Name: "wafleet_fleet_slots_free", Unit: "Count", Value: float64(found.SlotsFree)},
		{Name: "wafleet_fleet_client_outdated_share", Unit: "None", Value: found.OutdatedShare},
		{Name: "wafleet_fleet_sessions_failed", Unit: "Count", Value: float64(found.Failed)},
		{Name: "wafleet_fleet_orphans_found", Unit: "Count", Value: float64(found.Orphans)},
	}}
}
