package aws

import (
	"math"
	"slices"
	"strconv"
	"strings"
)

// container: what the task definition gives the connector.
func container(s *system, r *report) {
	found := 0
	for task := range s.each("AWS::ECS::TaskDefinition") {
		r.want(task, "NetworkMode", task.props["NetworkMode"], "awsvpc")
		r.want(task, "RequiresCompatibilities", words(task.props["RequiresCompatibilities"]), []string{"FARGATE"})
		if at(task.props, "TaskRoleArn") == nil || show(task.props["TaskRoleArn"]) == show(task.props["ExecutionRoleArn"]) {
			r.add("%v: the program has no role of its own", task)
		}
		for _, item := range items(task.props["ContainerDefinitions"]) {
			found++
			c := dict(item)
			for property, want := range map[string]any{
				"StopTimeout": 120, "ReadonlyRootFilesystem": true, "User": "65532:65532", "Essential": true,
				"EntryPoint": []any{"/guard"}, "Command": []any{"/connector"},
			} {
				r.want(task, property, c[property], want)
			}
			r.want(task, "InitProcessEnabled", at(c, "LinuxParameters", "InitProcessEnabled"), true)
			r.want(task, "dropped capabilities", words(at(c, "LinuxParameters", "Capabilities", "Drop")), []string{"ALL"})
			r.want(task, "added capabilities", at(c, "LinuxParameters", "Capabilities", "Add"), nil)
			r.want(task, "Privileged", c["Privileged"], nil)
			r.want(task, "HealthCheck", words(at(c, "HealthCheck", "Command")), []string{"CMD", "/connector", "healthcheck"})
			r.want(task, "log mode", at(c, "LogConfiguration", "Options", "mode"), "non-blocking")
			limits := items(c["Ulimits"])
			if len(limits) != 1 || text(at(limits[0], "Name")) != "nofile" || text(at(limits[0], "HardLimit")) != "65536" || text(at(limits[0], "SoftLimit")) != "65536" {
				r.add("%v: nofile is not 65536: %s", task, show(limits))
			}
			for _, mount := range items(c["MountPoints"]) {
				r.want(task, "where device files are", at(mount, "ContainerPath"), "/app/data")
			}
		}
	}
	r.want("connectors.yaml", "how many containers there are", found, 1)
}

// deployment: database, migration, connectors, API; new tasks before old ones
// go; and a number of tasks that the scaling owns.
func deployment(s *system, r *report) {
	waits := func(id string) []string { return words(s.root.resource(id).attrs["DependsOn"]) }
	for id, want := range map[string][]string{
		"Connectors": {"Migration"}, "ApiFunction": {"Connectors", "Migration"}, "SweepFunction": {"Migration"}, "AdminFunction": {"Migration"},
	} {
		for _, first := range want {
			if !slices.Contains(waits(id), first) {
				r.add("template.yaml %s does not wait for %s", id, first)
			}
		}
	}
	migration := s.root.resource("Migration")
	r.want(migration, "Type", migration.kind, "Custom::Migration")
	r.want(migration, "Version", at(migration.props, "Version", "Ref"), "Version")
	r.want(migration, "ServiceToken", show(migration.props["ServiceToken"]), show(object{"Fn::GetAtt": []any{"MigrateFunction", "Arn"}}))
	if at(s.root.parameters["Version"], "Default") != nil {
		r.add("template.yaml: Version has a default, with which a deployment would not migrate")
	}
	migrate := s.root.resource("MigrateFunction")
	r.want(migrate, "Timeout", migrate.props["Timeout"], migration.props["ServiceTimeout"])
	api := s.root.resource("ApiFunction")
	r.want(api, "AutoPublishAlias", api.props["AutoPublishAlias"], "live")
	r.want(api, "DATABASE_MAX_OPEN", at(api.props, "Environment", "Variables", "DATABASE_MAX_OPEN"), "2")
	for f := range s.each(serverlessFunction) {
		if f.props["ReservedConcurrentExecutions"] == nil {
			r.add("%v may use up every connection of the database", f)
		}
	}
	service := s.find("Service")
	rolling := dict(service.props["DeploymentConfiguration"])
	r.want(service, "MinimumHealthyPercent", rolling["MinimumHealthyPercent"], 100)
	r.want(service, "MaximumPercent", rolling["MaximumPercent"], 200)
	r.want(service, "circuit breaker", at(rolling, "DeploymentCircuitBreaker", "Enable"), true)
	r.want(service, "rollback", at(rolling, "DeploymentCircuitBreaker", "Rollback"), true)
	r.want(service, "AvailabilityZoneRebalancing", service.props["AvailabilityZoneRebalancing"], "DISABLED")
	if service.props["DesiredCount"] != nil {
		r.add("%v: a deployment would undo the scaling", service)
	}
	queues(s, r)
}

// queues: a hint that nobody can use ends among the dead letters, which are kept
// for longer.
func queues(s *system, r *report) {
	queue := s.find("StartQueue")
	r.want(queue, "dead letters", show(at(queue.props, "RedrivePolicy", "deadLetterTargetArn")), show(object{"Fn::GetAtt": []any{"DeadLetters", "Arn"}}))
	if n, _ := at(queue.props, "RedrivePolicy", "maxReceiveCount").(int); n < 2 || n > 10 {
		r.add("%v: maxReceiveCount is %v", queue, n)
	}
	r.want(queue, "ReceiveMessageWaitTimeSeconds", queue.props["ReceiveMessageWaitTimeSeconds"], 20)
	r.want(s.nested["Queue"].resource("DeadLetters"), "MessageRetentionPeriod", s.nested["Queue"].resource("DeadLetters").props["MessageRetentionPeriod"], 1209600)
}

// scaling follows the load with one task to spare.
func scaling(s *system, r *report) {
	policy := s.find("FollowSessions")
	tracking := dict(policy.props["TargetTrackingScalingPolicyConfiguration"])
	r.want(policy, "TargetValue", at(tracking, "TargetValue", "Ref"), "TargetLoad")
	queries := map[string]object{}
	for _, q := range items(at(tracking, "CustomizedMetricSpecification", "Metrics")) {
		queries[text(at(q, "Id"))] = dict(q)
	}
	r.want(policy, "the load", at(queries["load"], "Expression", "Fn::Sub"), "100 * (wanted + ${Slots}) / slots")
	for id, metric := range map[string]string{"wanted": "wafleet_fleet_sessions_wanted", "slots": "wafleet_fleet_slots"} {
		r.want(policy, id, at(queries[id], "MetricStat", "Metric", "MetricName"), metric)
	}
	target := s.find("ScalableService")
	r.want(target, "MinCapacity", at(target.props, "MinCapacity", "Ref"), "MinTasks")
	r.want(target, "MaxCapacity", at(target.props, "MaxCapacity", "Ref"), "MaxTasks")
	r.want(s.find("Waiting"), "AlarmActions", show(s.find("Waiting").props["AlarmActions"]), show([]any{object{"Ref": "GrowAtOnce"}}))
}

// fargate are the sizes of a task that Fargate has, processor to memory, as the
// ECS developer guide lists them.
var fargate = map[int][]int{256: {512, 1024, 2048}, 512: {1024, 2048, 3072, 4096}, 1024: {2048, 3072, 4096, 8192}, 2048: {4096, 8192, 16384}, 4096: {8192, 16384, 30720}}

// meant is how many sessions a size is for.
var meant = map[string]int{"small": 1000, "medium": 10000, "large": 100000}

// Memory of a session, more than make bench measures of an idle one; of a process
// beside that.
const (
	sessionKiB = 186
	processMiB = 100
)

// memoryGiB of the classes that sizes use.
var memoryGiB = map[string]float64{"db.t4g.medium": 4, "db.m7g.large": 8, "db.m7g.2xlarge": 32}

// sizes: each holds what it is meant for, in memory that a task has and with
// connections that its database has, while a deployment runs twice the tasks.
func sizes(s *system, r *report) {
	r.want("template.yaml", "the sizes", len(dict(s.root.mappings["Size"])), len(meant))
	r.want("template.yaml", "sizes to choose from", words(at(s.root.parameters["Size"], "AllowedValues")), []string{"small", "medium", "large"})
	for name, sessions := range meant {
		size := dict(at(s.root.mappings["Size"], name))
		of := func(key string) int {
			n, err := strconv.Atoi(strings.TrimSuffix(text(size[key]), "MiB"))
			if err != nil {
				r.add("size %s: %s is %s", name, key, show(size[key]))
			}
			return n
		}
		slots, most, memory, limit := of("Slots"), of("MaxTasks"), of("TaskMemory"), of("MemoryLimit")
		if !slices.Contains(fargate[of("TaskCpu")], memory) {
			r.add("size %s: Fargate has no task of %d/%d", name, of("TaskCpu"), memory)
		}
		if need := processMiB + slots*sessionKiB/1024; need > limit || limit > memory*95/100 {
			r.add("size %s: %d slots need %d MiB of %d, of a task with %d", name, slots, need, limit, memory)
		}
		if need := int(math.Ceil(float64(sessions+slots) * 100 / 90 / float64(slots))); most < need {
			r.add("size %s: %d sessions need %d tasks of at most %d", name, sessions, need, most)
		}
		if of("MinTasks") < 2 || of("MinTasks") > most {
			r.add("size %s: %d tasks at least, %d at most", name, of("MinTasks"), most)
		}
		allows := memoryGiB[text(size["DatabaseClass"])] * (1 << 30) / 9531392
		if 0.95*float64(of("ConnectionsAlarm")) > allows {
			r.add("size %s: the alarm on connections is at %d of %.0f", name, of("ConnectionsAlarm"), allows)
		}
		api, tasks := of("ApiConcurrency")*2, most*of("TaskConnections")
		if need := float64(api + 2*tasks + 8); need > 0.9*allows {
			r.add("size %s: a deployment needs %.0f connections of %.0f", name, need, allows)
		}
		if need := api + tasks + 8; need > of("ConnectionsAlarm") {
			r.add("size %s: the alarm on connections rings at %d, and %d are usual", name, of("ConnectionsAlarm"), need)
		}
	}
}
