// Package aws is wafleet on AWS: the templates beside this file and
// template.yaml at the top, which nests them. infra/README.md is the runbook.
// There is no program in it; its tests read the templates and the code, and hold
// the one against the other.
//
// # The stacks
//
//	template.yaml ── API, functions, roles, keys
//	├── network.yaml        VPC, subnets, NAT, endpoints, security groups
//	├── database.yaml       Postgres, its password, policies to sign in with
//	├── queue.yaml          start hints and dead letters
//	├── connectors.yaml     the fleet, its scaling, the device files
//	└── observability.yaml  alarms, topic, dashboard
//
// # What is checked
//
// A check looks at the whole system, that is at all templates as they fit
// together, and names what is wrong. The table of checks is in checks_test.go:
// references across stacks, policies, encryption, logs, alarms, the way of a
// deployment, what the tasks and functions are given. Some of it is in the code
// and not in a template: the environment of each program is compared with its
// configuration, alarms with the metrics that are published, each role with the
// calls that its program makes (calls_test.go).
//
// A check that never fails proves nothing: faults_test.go breaks the templates,
// once per fault, and says which checks must notice and that no other does.
//
// The names and types of properties are not the business of these tests. cfn-lint
// knows them; where it is not installed, lint/lint.mjs checks them against the
// specification that AWS publishes ("make lint-infra").
package aws
