package aws

import (
	"encoding/json"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

// metric is what an alarm, a policy or a graph looks at.
type metric struct {
	where           any
	namespace, name string
	dimensions      []string // names, sorted
	fleet           bool     // the one dimension is the fleet of this deployment
}

// watched are all metrics that the templates look at.
func (s *system) watched() (all []metric) {
	for one := range s.each() {
		walk(one.props, func(v any) {
			m := dict(v)
			if _, named := m["MetricName"]; named && m["Namespace"] != nil {
				all = append(all, one.metric(m))
			}
		})
		if one.kind == "AWS::CloudWatch::Dashboard" {
			all = append(all, one.graphs()...)
		}
	}
	return all
}

func (r resource) metric(m object) metric {
	found := metric{where: r, namespace: text(m["Namespace"]), name: text(m["MetricName"])}
	if found.namespace == "" {
		found.namespace = text(at(m["Namespace"], "Fn::Sub"))
	}
	for _, d := range items(m["Dimensions"]) {
		names := choices(at(d, "Name"))
		for _, name := range names {
			found.dimensions = append(found.dimensions, text(name))
		}
		found.fleet = at(d, "Value", "Ref") == "Fleet"
	}
	slices.Sort(found.dimensions)
	return found
}

// graphs reads a dashboard: "." repeats what is above, "..." all but the last.
func (r resource) graphs() (all []metric) {
	body := r.props["DashboardBody"]
	pattern := text(at(body, "Fn::Sub"))
	if pair := list(at(body, "Fn::Sub")); pair != nil {
		pattern = text(pair[0])
	}
	var board struct {
		Widgets []struct{ Properties struct{ Metrics [][]any } }
	}
	if err := json.Unmarshal([]byte(pattern), &board); err != nil {
		return []metric{{where: r, namespace: "no JSON: " + err.Error()}}
	}
	for _, widget := range board.Widgets {
		var above []string
		for _, line := range widget.Properties.Metrics {
			var words []string
			for i, cell := range line {
				word, ok := cell.(string)
				switch {
				case !ok: // the options at the end
				case word == "...":
					words = append(words, above...)
				case word == "." && i < len(above):
					words = append(words, above[i])
				default:
					words = append(words, word)
				}
			}
			above = words
			found := metric{where: r, namespace: words[0], name: words[1]}
			for i := 2; i+1 < len(words); i += 2 {
				found.dimensions = append(found.dimensions, words[i])
				found.fleet = words[i+1] == "${Fleet}"
			}
			slices.Sort(found.dimensions)
			all = append(all, found)
		}
	}
	return all
}

// published are AWS's metrics that are looked at, with the dimensions that they
// have, as the user guides of the services list them.
var published = map[string][]string{
	"AWS/ApiGateway Count":                       {"ApiId,Stage"},
	"AWS/ApiGateway 4xx":                         {"ApiId,Stage"},
	"AWS/ApiGateway 5xx":                         {"ApiId,Stage"},
	"AWS/ApiGateway Latency":                     {"ApiId,Stage"},
	"AWS/Lambda Throttles":                       {"FunctionName"},
	"AWS/Lambda Errors":                          {"FunctionName"},
	"AWS/ECS CPUUtilization":                     {"ClusterName,ServiceName"},
	"AWS/ECS MemoryUtilization":                  {"ClusterName,ServiceName"},
	"AWS/SQS ApproximateNumberOfMessagesVisible": {"QueueName"},
	"AWS/SQS NumberOfMessagesSent":               {"QueueName"},
	"AWS/SQS NumberOfMessagesDeleted":            {"QueueName"},
	"AWS/RDS DatabaseConnections":                {"DBInstanceIdentifier", "DBClusterIdentifier", "DBClusterIdentifier,DBInstanceIdentifier", "${DatabaseDimension}"},
	"AWS/RDS CPUUtilization":                     {"DBInstanceIdentifier", "DBClusterIdentifier", "DBClusterIdentifier,DBInstanceIdentifier", "${DatabaseDimension}"},
	"AWS/RDS FreeStorageSpace":                   {"DBInstanceIdentifier"},
	"AWS/RDS FreeLocalStorage":                   {"DBClusterIdentifier"},
}

// swept are the metrics that sweep writes, by reading its source: literals that
// start with wafleet_.
var swept = must(func() ([]string, error) {
	return literals(`"(wafleet_[a-z_]+)"`, "functions/sweep")
})

// logged are the texts that connectors may log.
var logged = must(func() ([]string, error) {
	return literals(`\.(?:Debug|Info|Warn|Error)(?:Context)?\((?:ctx, )?"([^"]+)"`, "connector")
})

// literals finds a pattern in the Go files of a directory, tests left out.
func literals(pattern, directory string) (all []string, err error) {
	expression := regexp.MustCompile(pattern)
	err = filepath.WalkDir(filepath.Join(repository, directory), func(path string, entry os.DirEntry, err error) error {
		if err != nil || filepath.Ext(path) != ".go" || strings.HasSuffix(path, "_test.go") {
			return err
		}
		source, err := os.ReadFile(path)
		for _, match := range expression.FindAllStringSubmatch(string(source), -1) {
			all = append(all, match[1])
		}
		return err
	})
	return all, err
}

// metrics: what is looked at is published, under that name and with these
// dimensions; what is counted in a log is a line that the code can write.
func metrics(s *system, r *report) {
	counted := map[string]bool{}
	for filter := range s.each("AWS::Logs::MetricFilter") {
		for _, match := range regexp.MustCompile(`\$\.msg = "([^"]*)"`).FindAllStringSubmatch(text(filter.props["FilterPattern"]), -1) {
			if !slices.Contains(logged(), match[1]) {
				r.add("%v: no connector logs %q", filter, match[1])
			}
		}
		for _, made := range items(filter.props["MetricTransformations"]) {
			counted[text(at(made, "MetricNamespace", "Fn::Sub"))+" "+text(at(made, "MetricName"))] = false
		}
	}
	for _, m := range s.watched() {
		dimensions := strings.Join(m.dimensions, ",")
		key := m.namespace + " " + m.name
		_, isCounted := counted[key]
		switch {
		case m.namespace == "wafleet":
			if !slices.Contains(swept(), m.name) {
				r.add("%v: nothing publishes %s", m.where, m.name)
			}
			if dimensions != "fleet" || !m.fleet {
				r.add("%v: %s has the dimension fleet, not %q", m.where, m.name, dimensions)
			}
		case isCounted:
			counted[key] = true
			if dimensions != "" {
				r.add("%v: %s has no dimensions", m.where, m.name)
			}
		default:
			if !slices.Contains(published[key], dimensions) {
				r.add("%v: AWS publishes no %s with %q", m.where, key, dimensions)
			}
		}
	}
	for key, used := range counted {
		if !used {
			r.add("nothing looks at %s", key)
		}
	}
}

// promised are the alarms that the runbook explains: what each looks at.
var promised = map[string]string{
	"Unplaced":             "wafleet wafleet_fleet_oldest_job_seconds",
	"ClientOutdated":       "wafleet wafleet_fleet_client_outdated_share",
	"FailedSurge":          "wafleet wafleet_fleet_sessions_failed",
	"FewConnectors":        "wafleet wafleet_fleet_connectors_alive",
	"SweepIsSilent":        "wafleet wafleet_fleet_connectors_alive",
	"LeaseAge":             "wafleet/${Fleet} beats_missed",
	"LeaseLost":            "wafleet/${Fleet} leases_lost",
	"DeadLetters":          "AWS/SQS ApproximateNumberOfMessagesVisible",
	"EventDeadLetters":     "AWS/SQS ApproximateNumberOfMessagesVisible",
	"ApiErrors":            "AWS/ApiGateway 5xx",
	"ApiLatency":           "AWS/ApiGateway Latency",
	"ApiThrottled":         "AWS/Lambda Throttles",
	"SweepErrors":          "AWS/Lambda Errors",
	"DatabaseConnections":  "AWS/RDS DatabaseConnections",
	"DatabaseStorage":      "AWS/RDS FreeStorageSpace",
	"DatabaseLocalStorage": "AWS/RDS FreeLocalStorage",
	"DatabaseCpu":          "AWS/RDS CPUUtilization",
}

// alarms: each that is promised is there, reaches the topic, and is explained.
func alarms(s *system, r *report) {
	runbook, err := r.read("infra/README.md")
	if err != nil {
		r.add("%v", err)
	}
	watched := map[string][]string{}
	for _, m := range s.watched() {
		if at, ok := m.where.(resource); ok {
			watched[at.id] = append(watched[at.id], m.namespace+" "+m.name)
		}
	}
	for id, metric := range promised {
		alarm := s.nested["Observability"].resource(id)
		if alarm.kind != "AWS::CloudWatch::Alarm" {
			r.add("there is no alarm %s", id)
			continue
		}
		if !slices.Contains(watched[id], metric) {
			r.add("%v looks at %v, not %s", alarm, watched[id], metric)
		}
		if !strings.Contains(string(runbook), "`"+id+"`") {
			r.add("infra/README.md does not say what %s means", id)
		}
	}
	for alarm := range s.each("AWS::CloudWatch::Alarm") {
		if len(items(alarm.props["AlarmActions"])) == 0 {
			r.add("%v rings nowhere", alarm)
		}
		if _, ok := promised[alarm.id]; !ok && alarm.in == s.nested["Observability"] {
			r.add("%v is not among the alarms that are promised", alarm)
		}
		if alarm.props["TreatMissingData"] == nil {
			r.add("%v does not say what no data means", alarm)
		}
	}
	r.want("Unplaced", "how long is too long (s)", s.find("Unplaced").props["Threshold"], 30)
}
