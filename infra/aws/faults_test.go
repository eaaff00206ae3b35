package aws

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// fault is one mistake in one file. The checks named must find it, and no other
// may: a check that complains about everything tells nothing. Empty: it is the
// linters' to find.
type fault struct {
	name     string
	file     string
	old, new string // the first occurrence is replaced
	checks   []string
	// Which of the linters finds it, see TestLintersCatch.
	cfnLint, specification bool
}

const (
	rootFile      = "template.yaml"
	networkFile   = "infra/aws/network.yaml"
	databaseFile  = "infra/aws/database.yaml"
	queueFile     = "infra/aws/queue.yaml"
	connectorFile = "infra/aws/connectors.yaml"
	watchFile     = "infra/aws/observability.yaml"
)

var faults = []fault{
	{name: "a stop timeout that Fargate refuses", file: connectorFile, old: "StopTimeout: 120", new: "StopTimeout: 300", checks: []string{"container"}},
	{name: "a misspelt action", file: connectorFile, old: "sqs:DeleteMessage, sqs:Change", new: "sqs:DeleteMessages, sqs:Change", checks: []string{"actions", "allowed", "calls"}, cfnLint: true},
	{name: "a right too many", file: rootFile, old: `Action: ["sqs:SendMessage"]`, new: `Action: ["sqs:SendMessage", "sqs:ReceiveMessage"]`, checks: []string{"allowed", "calls"}},
	{name: "a right too few", file: connectorFile, old: "Action: [ecs:UpdateTaskProtection]", new: "Action: [ecs:DescribeTasks]", checks: []string{"allowed", "calls"}},
	{name: "a right on everything without a reason", file: connectorFile, old: "Resource: [!Ref QueueArn]", new: `Resource: [!Ref QueueArn, "*"]`, checks: []string{"any resource"}},
	{name: "a role for other accounts' tasks", file: connectorFile, old: `StringEquals: {"aws:SourceAccount": !Ref "AWS::AccountId"}`, new: `StringLike: {"aws:SourceAccount": "*"}`, checks: []string{"trust"}},
	{name: "a reference to nothing", file: connectorFile, old: "Image: !Ref Image", new: "Image: !Ref ImageURL", checks: []string{"references", "parameters"}, cfnLint: true},
	{name: "an output that is not there", file: rootFile, old: "DatabaseHost: !GetAtt Database.Outputs.Host", new: "DatabaseHost: !GetAtt Database.Outputs.Address", checks: []string{"references"}, cfnLint: true},
	{name: "an attribute that is not there", file: databaseFile, old: "!GetAtt Database.DbiResourceId", new: "!GetAtt Database.ResourceId", cfnLint: true, specification: true},
	{name: "a parameter that is not passed", file: rootFile, old: "        TargetLoad: !Ref TargetLoad\n", new: "", checks: []string{"stacks", "parameters"}, cfnLint: true},
	{name: "a parameter that nobody declares", file: rootFile, old: "SpotWeight: !Ref SpotWeight", new: "SpotShare: !Ref SpotWeight", checks: []string{"stacks"}, cfnLint: true},
	{name: "a condition that is not there", file: networkFile, old: "Condition: ThirdZone", new: "Condition: Third", checks: []string{"references"}, cfnLint: true},
	{name: "a size without a value", file: rootFile, old: "      TaskCpu: 1024\n", new: "", checks: []string{"references", "sizes"}},
	{name: "a misspelt property", file: databaseFile, old: "BackupRetentionPeriod:", new: "BackupRetention:", checks: []string{"database"}, cfnLint: true, specification: true},
	{name: "a value of another type", file: queueFile, old: "VisibilityTimeout: 30", new: "VisibilityTimeout: thirty", cfnLint: true, specification: true},
	{name: "a word that AWS does not know", file: connectorFile, old: "AvailabilityZoneRebalancing: DISABLED", new: "AvailabilityZoneRebalancing: OFF", checks: []string{"deployment"}, cfnLint: true, specification: true},
	{name: "a public database", file: databaseFile, old: "PubliclyAccessible: false", new: "PubliclyAccessible: true", checks: []string{"private"}},
	{name: "a database for the world", file: networkFile, old: "SourceSecurityGroupId: !Ref FunctionSecurityGroup", new: "CidrIp: 0.0.0.0/0", checks: []string{"private"}},
	{name: "a database in the clear", file: databaseFile, old: "StorageEncrypted: true", new: "StorageEncrypted: false", checks: []string{"encryption"}, cfnLint: true},
	{name: "a queue in the clear", file: queueFile, old: "      KmsMasterKeyId: !Ref StorageKeyArn\n", new: "", checks: []string{"encryption"}},
	{name: "connections without TLS", file: databaseFile, old: `rds.force_ssl: "1"`, new: `rds.force_ssl: "0"`, checks: []string{"encryption"}},
	{name: "a log of QR codes", file: databaseFile, old: `log_parameter_max_length: "0"`, new: `log_parameter_max_length: "-1"`, checks: []string{"database"}},
	{name: "a log that never forgets", file: rootFile, old: "RetentionInDays: !Ref LogRetentionDays, ", new: "", checks: []string{"log groups"}},
	{name: "a function that makes its own log", file: rootFile, old: "/aws/lambda/${AWS::StackName}-sweep", new: "/aws/lambda/${AWS::StackName}-sweeper", checks: []string{"log groups"}},
	{name: "a log of queries", file: rootFile, old: `"path":"$context.path"`, new: `"path":"$context.path","query":"$context.queryString"`, checks: []string{"access log"}},
	{name: "an alarm on a metric that nobody publishes", file: watchFile, old: "MetricName: wafleet_fleet_client_outdated_share", new: "MetricName: wafleet_fleet_client_outdated", checks: []string{"metrics", "alarms"}},
	{name: "an alarm on another fleet", file: watchFile, old: "Dimensions: [{Name: fleet, Value: !Ref Fleet}]", new: "Dimensions: [{Name: Fleet, Value: !Ref Fleet}]", checks: []string{"metrics"}},
	{name: "a line that no connector logs", file: watchFile, old: `$.msg = "the lease was not renewed"`, new: `$.msg = "the lease is not renewed"`, checks: []string{"metrics"}},
	{name: "an alarm that rings nowhere", file: watchFile, old: "      AlarmActions: [!Ref Topic]\n", new: "", checks: []string{"alarms"}},
	{name: "no room for the loss of a task", file: connectorFile, old: "100 * (wanted + ${Slots}) / slots", new: "100 * wanted / slots", checks: []string{"scaling"}, cfnLint: true},
	{name: "a build target that is not there", file: "Makefile", old: "build-MigrateFunction build-AdminFunction:", new: "build-AdminFunction:", checks: []string{"build targets"}},
	{name: "another architecture", file: rootFile, old: "Architectures: [arm64]", new: "Architectures: [x86_64]", checks: []string{"architecture"}},
	{name: "a task for another architecture", file: connectorFile, old: "CpuArchitecture: ARM64", new: "CpuArchitecture: X86_64", checks: []string{"architecture"}},
	{name: "a variable that the program does not read", file: rootFile, old: "SQLITE_AVAILABLE:", new: "SQLITE_ENABLED:", checks: []string{"environment"}},
	{name: "a stage that is a part of every path", file: rootFile, old: "StageName: $default", new: "StageName: live", checks: []string{"routes"}},
	{name: "routes for a part of the API", file: rootFile, old: `            PayloadFormatVersion: "2.0"`, new: "            Path: /api/sessions\n            Method: ANY\n            PayloadFormatVersion: \"2.0\"", checks: []string{"routes"}},
	{name: "an admin function with a URL", file: rootFile, old: "      Description: Tenants, API keys, quotas, the audit\n", new: "      FunctionUrlConfig: {AuthType: NONE}\n", checks: []string{"private"}},
	{name: "the API before the connectors", file: rootFile, old: "DependsOn: [ApiLogs, Connectors, Migration]", new: "DependsOn: [ApiLogs, Migration]", checks: []string{"deployment"}},
	{name: "connectors before the migration", file: rootFile, old: "    DependsOn: Migration\n", new: "", checks: []string{"deployment"}},
	{name: "events of every cluster", file: rootFile, old: "                clusterArn: [!GetAtt Connectors.Outputs.ClusterArn]\n", new: "", checks: []string{"events", "stacks"}},
	{name: "tasks with more slots than memory", file: rootFile, old: "Slots: 500", new: "Slots: 50000", checks: []string{"sizes"}},
	{name: "a root file system that can be written to", file: connectorFile, old: "ReadonlyRootFilesystem: true", new: "ReadonlyRootFilesystem: false", checks: []string{"container"}},
}

// broken reads the system with the fault in it.
func (f fault) broken(t *testing.T) reader {
	t.Helper()
	whole, err := fromDisk(f.file)
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(whole), f.old) || f.old == f.new {
		t.Fatalf("%s has no %q: the fault is out of date", f.file, f.old)
	}
	text := strings.Replace(string(whole), f.old, f.new, 1)
	return func(file string) ([]byte, error) {
		if file == f.file {
			return []byte(text), nil
		}
		return fromDisk(file)
	}
}

func TestEveryFaultIsCaught(t *testing.T) {
	t.Parallel()
	healthy := map[string][]string{}
	for _, c := range checks {
		healthy[c.name] = c.run(loaded(t), fromDisk)
	}
	catches := map[string]int{}
	for _, f := range faults {
		read := f.broken(t)
		s, err := load(read)
		if err != nil {
			t.Errorf("%s: cannot be read: %v", f.name, err)
			continue
		}
		var caught []string
		for _, c := range checks {
			for _, found := range c.run(s, read) {
				if !slices.Contains(healthy[c.name], found) {
					caught = append(caught, c.name)
					t.Logf("%s: %s: %s", f.name, c.name, found)
					break
				}
			}
		}
		want := slices.Clone(f.checks)
		slices.Sort(want)
		if slices.Sort(caught); !slices.Equal(caught, want) {
			t.Errorf("%s: caught by %q, not by %q", f.name, caught, want)
		}
		if len(want) == 0 && !f.cfnLint && !f.specification {
			t.Errorf("%s: nobody is to catch it", f.name)
		}
		for _, name := range want {
			catches[name]++
		}
	}
	for _, c := range checks {
		if catches[c.name] == 0 {
			t.Errorf("no fault is for the check %q", c.name)
		}
	}
}

// TestLintersCatch says which fault which linter finds, for "make
// lint-infra-faults", which takes a minute.
func TestLintersCatch(t *testing.T) {
	prefix := os.Getenv("LINT_FAULTS")
	if prefix == "" {
		t.Skip("LINT_FAULTS is not set")
	}
	dir := t.TempDir()
	var broken []string // the files with a fault, relative to dir
	for i, f := range faults {
		if f.file != "Makefile" {
			broken = append(broken, writeBroken(t, dir, fmt.Sprintf("%02d", i), f))
		}
	}
	lint := map[string][]string{"the specification": {"node", absolute(t, "lint/lint.mjs"), absolute(t, prefix)}}
	if _, err := exec.LookPath("cfn-lint"); err == nil {
		lint["cfn-lint"] = []string{"cfn-lint", "--format", "parseable"}
	} else {
		t.Log("cfn-lint is not installed")
	}
	for name, command := range lint {
		cmd := exec.Command(command[0], append(command[1:], broken...)...) // #nosec G204 -- a linter
		cmd.Dir = dir
		out, err := cmd.Output()
		if err == nil {
			t.Errorf("%s finds nothing", name)
		}
		for i, f := range faults {
			if f.file == "Makefile" {
				continue
			}
			want := map[string]bool{"cfn-lint": f.cfnLint, "the specification": f.specification}[name]
			if caught := strings.Contains("\n"+string(out), fmt.Sprintf("\n%02d/", i)); caught != want {
				t.Errorf("%s: caught by %s is %t, not %t", f.name, name, caught, want)
			}
		}
		t.Logf("%s:\n%s", name, out)
	}
}

// writeBroken writes all templates, one with the fault, and returns that one.
func writeBroken(t *testing.T, dir, name string, f fault) string {
	t.Helper()
	read := f.broken(t)
	for _, file := range []string{rootFile, networkFile, databaseFile, queueFile, connectorFile, watchFile} {
		text, err := read(file)
		if err != nil {
			t.Fatal(err)
		}
		path := filepath.Join(dir, name, file)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return filepath.Join(name, f.file)
}

func absolute(t *testing.T, path string) string {
	t.Helper()
	whole, err := filepath.Abs(path)
	if err != nil {
		t.Fatal(err)
	}
	return whole
}
