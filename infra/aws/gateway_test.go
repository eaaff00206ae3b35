package aws

import (
	"encoding/json"
	"regexp"
	"slices"
	"strings"

	"github.com/getkin/kin-openapi/openapi3"
)

// mayLog are the variables of API Gateway that hold nothing secret. A query may
// hold what was meant for a header, and headers hold keys.
var mayLog = strings.Fields(`requestTime requestId identity.sourceIp httpMethod path status responseLength
	responseLatency integrationLatency integrationStatus error.message integrationErrorMessage`)

// accessLog: every API writes a JSON line per request, with nothing secret in it.
func accessLog(s *system, r *report) {
	for api := range s.each("AWS::Serverless::HttpApi") {
		group := api.in.resource(text(list(at(api.props, "AccessLogSettings", "DestinationArn", "Fn::GetAtt"))[0]))
		r.want(api, "what it logs to", group.kind, "AWS::Logs::LogGroup")
		format := text(at(api.props, "AccessLogSettings", "Format"))
		var line map[string]string
		if err := json.Unmarshal([]byte(format), &line); err != nil {
			r.add("%v: its log is not JSON: %v", api, err)
		}
		for _, match := range regexp.MustCompile(`\$context\.([A-Za-z.]+)`).FindAllStringSubmatch(format, -1) {
			if !slices.Contains(mayLog, match[1]) {
				r.add("%v logs %s", api, match[1])
			}
		}
		if strings.Count(format, "$") != strings.Count(format, "$context.") {
			r.add("%v logs what is not in $context: %s", api, format)
		}
	}
}

// document is the API as it is published.
var document = must(func() (*openapi3.T, error) {
	raw, err := fromDisk("functions/httpapi/openapi.yaml")
	if err != nil {
		return nil, err
	}
	return openapi3.NewLoader().LoadFromData(raw)
})

// routes: the gateway hands every path of the document to the API, in the form
// that the function reads and under the path that the client sent.
func routes(s *system, r *report) {
	api := s.root.resource("ApiFunction")
	wanted := map[string]bool{}
	for path, item := range document().Paths.Map() {
		for method := range item.Operations() {
			wanted[method+" "+path] = false
		}
	}
	if len(wanted) < 20 {
		r.add("only %d operations are in the document", len(wanted))
	}
	for name, event := range dict(api.props["Events"]) {
		if text(at(event, "Type")) != "HttpApi" {
			r.add("%v: the event %s is not the gateway's", api, name)
			continue
		}
		props := dict(at(event, "Properties"))
		r.want(api, "ApiId", at(props, "ApiId", "Ref"), "HttpApi")
		r.want(api, "PayloadFormatVersion", props["PayloadFormatVersion"], "2.0")
		path, method := text(props["Path"]), strings.ToUpper(text(props["Method"]))
		for operation := range wanted {
			// Without path and method it is $default, which takes everything.
			if (path == "" && method == "") || operation == method+" "+path || (method == "ANY" && strings.HasSuffix(operation, " "+path)) {
				wanted[operation] = true
			}
		}
	}
	for operation, routed := range wanted {
		if !routed {
			r.add("%v: nothing routes %s to it", api, operation)
		}
	}
	gateway := s.root.resource("HttpApi")
	r.want(gateway, "StageName (any other is a part of every path)", gateway.props["StageName"], "$default")
	for _, limit := range []string{"ThrottlingRateLimit", "ThrottlingBurstLimit"} {
		if at(gateway.props, "DefaultRouteSettings", limit) == nil {
			r.add("%v: nothing limits it: %s", gateway, limit)
		}
	}
	r.want(gateway, "CORS (the function answers)", gateway.props["CorsConfiguration"], nil)
}

// invokers are who may invoke each function, other than people with the right to.
var invokers = map[string][]string{
	"ApiFunction":     {"HttpApi"},
	"SweepFunction":   {"EventBridgeRule", "Schedule"},
	"MigrateFunction": nil, // CloudFormation, with the rights of who deploys
	"AdminFunction":   nil,
}

// events: functions are invoked by what they are for and by nothing else; sweep
// every minute, and when a task of this fleet has stopped.
func events(s *system, r *report) {
	for f := range s.each(serverlessFunction) {
		var kinds []string
		for _, event := range dict(f.props["Events"]) {
			kinds = append(kinds, text(at(event, "Type")))
		}
		slices.Sort(kinds)
		if want, ok := invokers[f.id]; !ok || !slices.Equal(kinds, want) {
			r.add("%v is invoked by %v, not %v", f, kinds, want)
		}
	}
	for permission := range s.each("AWS::Lambda::Permission") {
		r.add("%v lets somebody else invoke a function", permission)
	}
	sweep := s.root.resource("SweepFunction")
	r.want(sweep, "its schedule", at(sweep.props, "Events", "EveryMinute", "Properties", "Schedule"), "rate(1 minute)")
	pattern := at(sweep.props, "Events", "TaskStopped", "Properties", "Pattern")
	r.want(sweep, "its events", show(pattern), show(object{
		"source": []any{"aws.ecs"}, "detail-type": []any{"ECS Task State Change"},
		"detail": object{
			"lastStatus": []any{"STOPPED"},
			"clusterArn": []any{object{"Fn::GetAtt": []any{"Connectors", "Outputs.ClusterArn"}}},
			"group":      []any{object{"Fn::Sub": "service:${Connectors.Outputs.ServiceName}"}},
		},
	}))
}
