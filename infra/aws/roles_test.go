package aws

import (
	"maps"
	"slices"
	"strings"
)

// What Lambda, ECS and KMS do with a role beside its program's own calls, and why.
const (
	forLambda = "logs:CreateLogStream logs:PutLogEvents " + // the function's log
		"ec2:CreateNetworkInterface ec2:DescribeNetworkInterfaces ec2:DescribeSubnets ec2:DeleteNetworkInterface " +
		"ec2:AssignPrivateIpAddresses ec2:UnassignPrivateIpAddresses " + // its place in the VPC
		"xray:PutTraceSegments xray:PutTelemetryRecords" // with Tracing
	signsIn   = "rds-db:connect secretsmanager:GetSecretValue kms:Decrypt"                                                  // the one way, or the other and its key
	mounts    = "elasticfilesystem:ClientMount elasticfilesystem:ClientWrite"                                               // the device files
	runsTasks = "ecr:GetAuthorizationToken ecr:BatchCheckLayerAvailability ecr:BatchGetImage ecr:GetDownloadUrlForLayer " + // the image
		"logs:CreateLogStream logs:PutLogEvents"
)

// mayDo is everything that each role may do.
var mayDo = map[string]string{
	"ApiRole":       forLambda + " " + signsIn + " sqs:SendMessage kms:GenerateDataKey kms:Encrypt",
	"SweepRole":     forLambda + " " + signsIn,
	"AdminRole":     forLambda + " " + signsIn + " kms:Encrypt",
	"MigrateRole":   forLambda + " secretsmanager:GetSecretValue kms:Decrypt",
	"TaskRole":      signsIn + " sqs:ReceiveMessage sqs:DeleteMessage sqs:ChangeMessageVisibility ecs:UpdateTaskProtection " + mounts,
	"ExecutionRole": runsTasks,
	"ProxyRole":     signsIn,
	"FlowLogRole":   "logs:CreateLogStream logs:PutLogEvents logs:DescribeLogStreams",
}

// allowed: every role may do what the list says, no more and no less.
func allowed(s *system, r *report) {
	for role := range s.each("AWS::IAM::Role") {
		want, ok := mayDo[role.id]
		if !ok {
			r.add("%v: is in no list", role)
			continue
		}
		listed := strings.Fields(want)
		have := s.grants(role)
		for _, action := range slices.Sorted(maps.Keys(have)) {
			if !slices.Contains(listed, action) {
				r.add("%v: may %s", role, action)
			}
		}
		for _, action := range listed {
			if len(have[action]) == 0 {
				r.add("%v: may not %s", role, action)
			}
		}
	}
}

// grants are the statements that allow a role something, by action.
func (s *system) grants(role resource) map[string][]statement {
	granting := []resource{role}
	for _, attached := range items(role.props["ManagedPolicyArns"]) {
		granting = append(granting, s.attached(role, attached)...)
	}
	all := map[string][]statement{}
	for _, p := range s.policies() {
		if p.isTrust || p.deny {
			continue
		}
		for _, from := range granting {
			if p.of.in == from.in && p.of.id == from.id {
				for _, action := range p.actions {
					all[action] = append(all[action], p)
				}
			}
		}
	}
	return all
}

// attached follows the ARN of a managed policy to where it is, through the
// parameters and outputs of stacks.
func (s *system) attached(role resource, arn any) (all []resource) {
	walk(arn, func(v any) {
		m := dict(v)
		if to := text(m["Ref"]); to != "" {
			if role.in.resource(to).kind == "AWS::IAM::ManagedPolicy" {
				all = append(all, role.in.resource(to))
			}
			if _, ok := role.in.parameters[to]; ok {
				for id, nested := range s.nested {
					if nested == role.in {
						given := at(s.root.resource(id).props["Parameters"], to)
						all = append(all, s.attached(resource{in: s.root}, given)...)
					}
				}
			}
		}
		if pair := list(m["Fn::GetAtt"]); pair != nil && s.nested[text(pair[0])] != nil {
			nested := s.nested[text(pair[0])]
			output := at(nested.outputs, strings.TrimPrefix(text(pair[1]), "Outputs."), "Value")
			all = append(all, s.attached(resource{in: nested}, output)...)
		}
	})
	return all
}
