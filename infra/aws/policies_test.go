package aws

import (
	"encoding/json"
	"os"
	"slices"
	"strings"
)

// statement of a policy, with whose policy it is.
type statement struct {
	of       resource
	sid      string
	deny     bool
	actions  []string
	targets  []any // of Resource
	who      object
	anyone   bool   // Principal "*"
	when     object // Condition
	isTrust  bool   // who may take the role on
	isKeyOwn bool   // the policy of a KMS key
}

// policies are all statements of a system, wherever they are: roles, managed
// policies, and those of queues, topics, keys, endpoints and file systems.
func (s *system) policies() []statement {
	if s.statements == nil {
		s.statements = s.readPolicies()
	}
	return s.statements
}

func (s *system) readPolicies() (all []statement) {
	for one := range s.each() {
		walk(one.props, func(v any) {
			for _, list := range []any{dict(v)["PolicyDocument"], dict(v)["AssumeRolePolicyDocument"], dict(v)["KeyPolicy"], dict(v)["FileSystemPolicy"]} {
				for _, item := range items(dict(list)["Statement"]) {
					all = append(all, read(one, dict(item), dict(v)))
				}
			}
		})
	}
	return all
}

func read(of resource, item, in object) statement {
	principal := item["Principal"]
	return statement{
		of: of, sid: text(item["Sid"]), deny: text(item["Effect"]) == "Deny", actions: words(item["Action"]),
		targets: targets(item["Resource"]), who: dict(principal), when: dict(item["Condition"]),
		anyone:  text(principal) == "*" || text(at(principal, "AWS")) == "*",
		isTrust: in["AssumeRolePolicyDocument"] != nil, isKeyOwn: in["KeyPolicy"] != nil,
	}
}

func targets(v any) []any {
	if s := text(v); s != "" {
		return []any{s}
	}
	return items(v)
}

// reference is the list of actions that AWS has; its file says where it is from.
var reference = must(func() (map[string][]string, error) {
	raw, err := os.ReadFile("testdata/actions.json")
	if err != nil {
		return nil, err
	}
	var file struct{ Actions map[string]string }
	if err := json.Unmarshal(raw, &file); err != nil {
		return nil, err
	}
	known := map[string][]string{}
	for service, names := range file.Actions {
		known[service] = strings.Fields(names)
	}
	return known, nil
})

// accountRoot lets the roles of the account decide, as AWS's own default policy
// of a key does. Without it nobody could ever change the policy.
func (p statement) accountRoot() bool {
	return p.isKeyOwn && strings.HasSuffix(text(at(p.who["AWS"], "Fn::Sub")), ":root")
}

// actions: every action of every policy is one that AWS has.
func actions(s *system, r *report) {
	for _, p := range s.policies() {
		if len(p.actions) == 0 {
			r.add("%v: the statement %q has no actions", p.of, p.sid)
		}
		for _, action := range p.actions {
			service, name, _ := strings.Cut(action, ":")
			switch names, listed := reference()[service]; {
			case action == "kms:*" && p.accountRoot():
			case !listed:
				r.add("%v: %s is not a service of testdata/actions.json", p.of, service)
			case !slices.Contains(names, name):
				r.add("%v: AWS has no action %s", p.of, action)
			}
		}
	}
}

// anyResource: what is allowed on everything says why, and so does what is said
// to everybody.
func anyResource(s *system, r *report) {
	for _, p := range s.policies() {
		reason := text(at(p.of.attrs, "Metadata", "AnyResource", p.sid))
		for _, target := range p.targets {
			if (text(target) == "*" || text(at(target, "Fn::Sub")) == "*") && reason == "" && !p.isKeyOwn {
				r.add("%v: %q is about every resource and does not say why", p.of, p.sid)
			}
		}
		if !p.isTrust && len(p.targets) == 0 {
			r.add("%v: %q names no resource", p.of, p.sid)
		}
		if p.anyone && text(at(p.of.attrs, "Metadata", "AnyPrincipal")) == "" {
			r.add("%v: %q is about everybody and does not say why", p.of, p.sid)
		}
	}
	for role := range s.each("AWS::IAM::Role") {
		for _, attached := range items(role.props["ManagedPolicyArns"]) {
			if text(attached) != "" || strings.Contains(text(at(attached, "Fn::Sub")), ":aws:policy") {
				r.add("%v: %s is not a policy of these templates", role, show(attached))
			}
		}
	}
}

// confusable services act for any account that asks; they must say for whom.
// Lambda takes a role on for functions of the role's own account only.
var confusable = []string{"ecs-tasks.amazonaws.com", "rds.amazonaws.com", "vpc-flow-logs.amazonaws.com"}

// trust: only services take a role on, and each for this account; a service that
// writes to a queue or topic does so for something of this account.
func trust(s *system, r *report) {
	for _, p := range s.policies() {
		service := text(p.who["Service"])
		narrowed := at(p.when, "StringEquals", "aws:SourceAccount") != nil || at(p.when, "ArnLike", "aws:SourceArn") != nil
		switch {
		case p.isTrust && (p.anyone || service == ""):
			r.add("%v: %s may take it on", p.of, show(p.who))
		case p.isTrust && slices.Contains(confusable, service) && at(p.when, "StringEquals", "aws:SourceAccount") == nil:
			r.add("%v: %s may take it on for other accounts", p.of, service)
		case !p.isTrust && !p.isKeyOwn && service != "" && !narrowed:
			r.add("%v: %s may use it for other accounts", p.of, service)
		case !p.isTrust && p.anyone && !p.deny && p.of.kind != "AWS::EC2::VPCEndpoint":
			r.add("%v: %q allows everybody", p.of, p.sid)
		}
	}
}
