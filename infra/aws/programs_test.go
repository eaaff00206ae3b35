package aws

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// program is a main and where it runs.
type program struct {
	main string // directory
	runs string // logical id of its function or task definition
	role string
	// left are the variables that a deployment leaves to their defaults, and why.
	left map[string]string
}

// Why a variable is not set.
const (
	byDefault = "its default"
	bySecret  = "DATABASE_HOST and its siblings say it without a password"
	byKMS     = "the key is in KMS"
	byEvents  = "no part of a deployment on AWS"
	byECS     = "ECS or the guard sets it"
	bySim     = "for simulators"
)

var programs = []program{
	{"functions/api", "ApiFunction", "ApiRole", map[string]string{
		"DATABASE_URL": bySecret, "SECRETS_KEY_FILE": byKMS, "DATA_DIR": "SQLITE_AVAILABLE says it",
		"RATE_LIMIT_PER_SECOND": byDefault, "RATE_LIMIT_BURST": byDefault,
	}},
	{"functions/sweep", "SweepFunction", "SweepRole", map[string]string{"DATABASE_URL": bySecret}},
	{"functions/migrate", "MigrateFunction", "MigrateRole", map[string]string{
		"DATABASE_URL": bySecret, "DATABASE_USER": "the secret names it", "DATABASE_IAM_AUTH": "the owner has a password",
	}},
	{"functions/admin", "AdminFunction", "AdminRole", map[string]string{"DATABASE_URL": bySecret}},
	{"connector", "Task", "TaskRole", map[string]string{
		"DATABASE_URL": bySecret, "SECRETS_KEY_FILE": byKMS, "LISTEN": byDefault, "CONNECTS_PER_SECOND": byDefault, "REBALANCE_PER_SECOND": byDefault,
		"LEASE_TTL": byDefault, "ECS_CONTAINER_METADATA_URI_V4": byECS, "ECS_AGENT_URI": byECS, "GUARD_LEASE_FD": byECS, "GUARD_CRASH_FD": byECS,
		"WHATSAPP_DIAL_ADDR": bySim, "WHATSAPP_TLS_CA": bySim, "WHATSAPP_NOISE_ROOT_KEY": bySim,
		"WHATSAPP_KEEPALIVE": byDefault, "WHATSAPP_KEEPALIVE_DEADLINE": byDefault, "QR_FIRST": byDefault, "QR_NEXT": byDefault, "UNLINK_PATIENCE": byDefault,
	}},
}

// ofRuntimes are variables that the SDK and Go's runtime read.
var ofRuntimes = []string{"AWS_REGION", "GOMEMLIMIT"}

// environments is what each program is given: all values that a variable may have.
func (s *system) environments() map[string]map[string][]any {
	all := map[string]map[string][]any{}
	for _, p := range programs {
		set := map[string][]any{}
		runs := s.find(p.runs)
		for name, value := range dict(at(runs.props, "Environment", "Variables")) {
			set[name] = choices(value)
		}
		for _, c := range items(runs.props["ContainerDefinitions"]) {
			for _, pair := range items(at(c, "Environment")) {
				name := text(at(pair, "Name"))
				set[name] = append(set[name], choices(at(pair, "Value"))...)
			}
		}
		all[p.main] = set
	}
	return all
}

// environment: a program is given what it reads, all of it, or it is said why
// not. A name that the program does not know would be silently ignored.
func environment(s *system, r *report) {
	given := s.environments()
	for _, p := range programs {
		known := configs()[p.main]
		for _, name := range slices.Sorted(maps.Keys(given[p.main])) {
			if _, left := p.left[name]; left {
				r.add("%s: %s is set, and is said to be left out", p.runs, name)
			}
			if !slices.Contains(known, name) && !slices.Contains(ofRuntimes, name) {
				r.add("%s: %s does not read %s", p.runs, p.main, name)
			}
		}
		for _, name := range known {
			if _, left := p.left[name]; given[p.main][name] == nil && !left {
				r.add("%s: %s reads %s, which is not set", p.runs, p.main, name)
			}
		}
		for name := range p.left {
			if !slices.Contains(known, name) {
				r.add("programs_test.go: %s does not read %s", p.main, name)
			}
		}
	}
}

// configs are the variables that each main reads: the env tags of its config,
// and of what that embeds.
var configs = must(func() (map[string][]string, error) {
	all := map[string][]string{}
	for _, p := range programs {
		names, err := tags(p.main, "config", "")
		if err != nil {
			return nil, err
		}
		if slices.Sort(names); len(names) == 0 {
			return nil, fmt.Errorf("%s has no config with env tags", p.main)
		}
		all[p.main] = slices.Compact(names)
	}
	return all, nil
})

// tags reads the env tags of a struct in a directory, with those of structs in
// it, of the same package or of another one of the module.
func tags(directory, name, prefix string) (names []string, err error) {
	files, err := filepath.Glob(filepath.Join(repository, directory, "*.go"))
	if err != nil {
		return nil, err
	}
	for _, path := range files {
		if strings.HasSuffix(path, "_test.go") {
			continue
		}
		file, err := parser.ParseFile(token.NewFileSet(), path, nil, 0)
		if err != nil {
			return nil, err
		}
		fields := fieldsOf(file, name)
		for _, field := range fields {
			found, err := tag(file, directory, prefix, field)
			if err != nil {
				return nil, err
			}
			names = append(names, found...)
		}
		if fields != nil {
			return names, nil
		}
	}
	return nil, nil
}

func fieldsOf(file *ast.File, name string) []*ast.Field {
	found := file.Scope.Lookup(name)
	if found == nil {
		return nil
	}
	if spec, ok := found.Decl.(*ast.TypeSpec); ok {
		if structure, ok := spec.Type.(*ast.StructType); ok {
			return structure.Fields.List
		}
	}
	return nil
}

func tag(file *ast.File, directory, prefix string, field *ast.Field) ([]string, error) {
	var said reflect.StructTag
	if field.Tag != nil {
		raw, err := strconv.Unquote(field.Tag.Value)
		if err != nil {
			return nil, err
		}
		said = reflect.StructTag(raw)
	}
	if name, _, _ := strings.Cut(said.Get("env"), ","); name != "" {
		return []string{prefix + name}, nil
	}
	prefix += said.Get("envPrefix")
	switch kind := field.Type.(type) {
	case *ast.Ident:
		return tags(directory, kind.Name, prefix)
	case *ast.SelectorExpr:
		if from, ok := kind.X.(*ast.Ident); ok {
			return tags(imported(file, from.Name), kind.Sel.Name, prefix)
		}
	}
	return nil, nil
}

const module = "github.com/wafleet/wafleet/"

// imported is the directory of a package of this module; of another one it is
// one that does not exist.
func imported(file *ast.File, name string) string {
	for _, spec := range file.Imports {
		path, err := strconv.Unquote(spec.Path.Value)
		if err == nil && strings.HasPrefix(path, module) && (strings.HasSuffix(path, "/"+name) || (spec.Name != nil && spec.Name.Name == name)) {
			return strings.TrimPrefix(path, module)
		}
	}
	return "of another module"
}

var (
	buildTarget = regexp.MustCompile(`(?m)^((?:build-[A-Z][A-Za-z]*\s*)+):([^=\n]*)$`)
	buildName   = regexp.MustCompile(`build-([A-Z][A-Za-z]*)`)
)

// buildTargets: sam finds a target for every function, and there is no other.
func buildTargets(s *system, r *report) {
	makefile, err := r.read("Makefile")
	if err != nil {
		r.add("%v", err)
	}
	targets := map[string]bool{}
	for _, match := range buildTarget.FindAllStringSubmatch(string(makefile), -1) {
		for _, name := range buildName.FindAllStringSubmatch(match[1], -1) {
			targets[name[1]] = true
		}
	}
	for f := range s.each(serverlessFunction) {
		r.want(f, "BuildMethod", at(f.attrs, "Metadata", "BuildMethod"), "makefile")
		r.want(f, "CodeUri", f.props["CodeUri"], ".")
		if !targets[f.id] {
			r.add("the Makefile has no target build-%s", f.id)
		}
		delete(targets, f.id)
	}
	for name := range targets {
		r.add("the Makefile's build-%s is no function's", name)
	}
	for _, match := range regexp.MustCompile(`--parameter-overrides ([^\n]*)`).FindAllStringSubmatch(string(makefile), -1) {
		given := regexp.MustCompile(`([A-Za-z]+)='?\$`).FindAllStringSubmatch(match[1], -1)
		var names []string
		for _, one := range given {
			names = append(names, one[1])
			if _, ok := s.root.parameters[one[1]]; !ok {
				r.add("make deploy gives %s, which template.yaml does not have", one[1])
			}
		}
		for name, declared := range s.root.parameters {
			if at(declared, "Default") == nil && !slices.Contains(names, name) {
				r.add("make deploy does not give %s", name)
			}
		}
	}
}

// architecture: one for everything, and the binaries are built for it.
func architecture(s *system, r *report) {
	for f := range s.each(serverlessFunction) {
		r.want(f, "Architectures", f.props["Architectures"], []any{"arm64"})
		r.want(f, "Runtime", f.props["Runtime"], "provided.al2023")
		r.want(f, "Handler", f.props["Handler"], "bootstrap")
	}
	for task := range s.each("AWS::ECS::TaskDefinition") {
		r.want(task, "CpuArchitecture", at(task.props, "RuntimePlatform", "CpuArchitecture"), "ARM64")
		r.want(task, "OperatingSystemFamily", at(task.props, "RuntimePlatform", "OperatingSystemFamily"), "LINUX")
	}
	makefile, err := r.read("Makefile")
	if err != nil {
		r.add("%v", err)
	}
	lines := strings.Split(string(makefile), "\n")
	for i, line := range lines {
		if !buildTarget.MatchString(line) {
			continue
		}
		recipe := ""
		for _, next := range lines[i+1:] {
			if !strings.HasPrefix(next, "\t") {
				break
			}
			recipe += next
		}
		if !strings.Contains(recipe, "GOOS=linux GOARCH=arm64") || !strings.Contains(recipe, "lambda.norpc") {
			r.add("Makefile: %s does not build for Lambda on arm64", line)
		}
	}
	if _, err := os.Stat(filepath.Join(repository, "infra/aws/rds.pem")); err != nil {
		r.add("infra/aws/rds.pem, which the functions are to find at /var/task/rds.pem: %v", err)
	}
}
