package aws

import (
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// forAWS are rights that no call of a program needs, and why a role has them.
var forAWS = map[string]string{
	"logs:CreateLogStream":           "Lambda writes the function's log",
	"logs:PutLogEvents":              "Lambda writes the function's log",
	"ec2:CreateNetworkInterface":     "Lambda puts the function into the VPC",
	"ec2:DescribeNetworkInterfaces":  "Lambda puts the function into the VPC",
	"ec2:DescribeSubnets":            "Lambda puts the function into the VPC",
	"ec2:DeleteNetworkInterface":     "Lambda puts the function into the VPC",
	"ec2:AssignPrivateIpAddresses":   "Lambda puts the function into the VPC",
	"ec2:UnassignPrivateIpAddresses": "Lambda puts the function into the VPC",
	"xray:PutTraceSegments":          "Lambda sends the traces that the parameter Tracing asks for",
	"xray:PutTelemetryRecords":       "Lambda sends the traces that the parameter Tracing asks for",
	"elasticfilesystem:ClientMount":  "Fargate mounts the device files",
	"elasticfilesystem:ClientWrite":  "writing a file is no call",
}

// notHere are calls that a program could make and does not on AWS, as it is
// configured there.
var notHere = map[string]string{
	"functions/migrate rds-db:connect": "it signs in as the owner, who has a password",
}

// actionOf is the right that an operation of the SDK needs, where it is not
// called the same.
var actionOf = map[string]string{
	"sqs:SendMessageBatch":             "sqs:SendMessage",
	"sqs:DeleteMessageBatch":           "sqs:DeleteMessage",
	"sqs:ChangeMessageVisibilityBatch": "sqs:ChangeMessageVisibility",
}

// calls: every call to AWS that a program can make is allowed by its role, and
// the role allows nothing else.
func calls(s *system, r *report) {
	for _, p := range programs {
		called, granted := called()[p.main], s.grants(s.find(p.role))
		for _, action := range slices.Sorted(maps.Keys(called)) {
			if !slices.ContainsFunc(granted[action], forItself) {
				r.add("%s calls %s in %v, which %s does not allow", p.main, action, called[action], p.role)
			}
		}
		for _, action := range slices.Sorted(maps.Keys(granted)) {
			if forAWS[action] == "" && called[action] == nil && slices.ContainsFunc(granted[action], forItself) {
				r.add("%s allows %s, which %s never calls", p.role, action, p.main)
			}
		}
	}
}

// TestCallsAreFound shows what each program can call, and where.
func TestCallsAreFound(t *testing.T) {
	t.Parallel()
	for _, p := range programs {
		for _, action := range slices.Sorted(maps.Keys(called()[p.main])) {
			t.Logf("%s: %s: %s", p.main, action, strings.Join(called()[p.main][action], ", "))
		}
	}
}

// called are the calls to AWS of each program: action to functions.
var called = must(func() (map[string]map[string][]string, error) {
	all := map[string]map[string][]string{}
	for _, p := range programs {
		all[p.main] = map[string][]string{}
		mains := []string{p.main}
		if p.main == "connector" {
			mains = append(mains, "connector/guard") // in the same task
		}
		for _, main := range mains {
			code, err := codeOf(main)
			if err != nil {
				return nil, err
			}
			code.calls(all[p.main])
		}
		maps.DeleteFunc(all[p.main], func(action string, _ []string) bool { return notHere[p.main+" "+action] != "" })
	}
	return all, nil
})

// forItself: the right is the program's own, not one that SQS or Secrets Manager
// use in its name.
func forItself(p statement) bool { return at(p.when, "StringEquals", "kms:ViaService") == nil }

// calls adds what the main can call.
func (c *code) calls(found map[string][]string) {
	for _, one := range c.reachable() {
		for _, operation := range one.operations {
			action := operation
			if other := actionOf[operation]; other != "" {
				action = other
			}
			if !slices.Contains(found[action], one.String()) {
				found[action] = append(found[action], one.String())
			}
		}
	}
}

// TestNoClientIsOverlooked: what the walk over the code sees is what the packages
// import; a client of a service without a known call would be overlooked.
func TestNoClientIsOverlooked(t *testing.T) {
	t.Parallel()
	found := map[string]bool{}
	for _, p := range programs {
		code, err := codeOf(p.main)
		if err != nil {
			t.Fatal(err)
		}
		for _, one := range code.all {
			for _, operation := range one.operations {
				service, _, _ := strings.Cut(operation, ":")
				found[one.in.path+" "+service] = true
			}
		}
		for _, in := range code.packages {
			for _, imported := range in.imports {
				service, isClient := strings.CutPrefix(imported, sdk+"service/")
				if isClient && !strings.Contains(service, "/") && !found[in.path+" "+service] {
					t.Errorf("%s imports %s, and no call is found in it", in.path, imported)
				}
			}
		}
	}
}

// listed is what go list says of a package.
type listed struct {
	ImportPath, Dir  string
	GoFiles, Imports []string
	Standard         bool
}

// linked are the packages of a main, as for Lambda and Fargate.
func linked(main string) (all []listed, err error) {
	list := exec.Command("go", "list", "-deps", "-tags", "lambda.norpc", "-json=ImportPath,Dir,GoFiles,Imports,Standard", "./"+main) // #nosec G204 -- a main of this module
	list.Dir = repository
	list.Env = append(os.Environ(), "GOOS=linux", "GOARCH=arm64", "CGO_ENABLED=0")
	out, err := list.Output()
	if err != nil {
		return nil, fmt.Errorf("go list %s: %w", filepath.Join(repository, main), err)
	}
	for decoder := json.NewDecoder(strings.NewReader(string(out))); decoder.More(); {
		var one listed
		if err := decoder.Decode(&one); err != nil {
			return nil, err
		}
		all = append(all, one)
	}
	return all, nil
}
