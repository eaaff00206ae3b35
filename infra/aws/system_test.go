package aws

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// repository is where template.yaml is.
const repository = "../.."

// system is template.yaml with the stacks that it nests.
type system struct {
	root   *template
	nested map[string]*template // by logical id

	statements []statement // of policies, once they are read
}

// template is one file.
type template struct {
	file                                                               string
	parameters, mappings, conditions, resources, outputs, globals, all object
}

// resource is one entry of Resources.
type resource struct {
	in    *template
	id    string
	kind  string
	attrs object // Type, Properties, DependsOn, ...
	props object // with what Globals say
}

func (r resource) String() string { return r.in.file + " " + r.id }

// reader returns the text of a file by its path from the repository's root.
type reader func(file string) ([]byte, error)

func fromDisk(file string) ([]byte, error) { return os.ReadFile(filepath.Join(repository, file)) }

// load reads the whole system.
func load(read reader) (*system, error) {
	root, err := parse(read, "template.yaml")
	if err != nil {
		return nil, err
	}
	s := &system{root: root, nested: map[string]*template{}}
	for r := range s.root.each("AWS::CloudFormation::Stack") {
		if s.nested[r.id], err = parse(read, text(r.props["TemplateURL"])); err != nil {
			return nil, err
		}
	}
	return s, nil
}

func parse(read reader, file string) (*template, error) {
	raw, err := read(file)
	if err != nil {
		return nil, err
	}
	all, err := decode(raw)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	section := func(name string) object { return dict(all[name]) }
	return &template{
		file: file, all: all, parameters: section("Parameters"), mappings: section("Mappings"), conditions: section("Conditions"),
		resources: section("Resources"), outputs: section("Outputs"), globals: section("Globals"),
	}, nil
}

func loaded(t testing.TB) *system {
	t.Helper()
	s, err := load(fromDisk)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// templates in a fixed order, the root first.
func (s *system) templates() []*template {
	all := []*template{s.root}
	for _, id := range slices.Sorted(maps.Keys(s.nested)) {
		all = append(all, s.nested[id])
	}
	return all
}

// each resource of these types; of all types where none is given.
func (s *system) each(kinds ...string) func(func(resource) bool) {
	return func(yield func(resource) bool) {
		for _, t := range s.templates() {
			for r := range t.each(kinds...) {
				if !yield(r) {
					return
				}
			}
		}
	}
}

func (t *template) each(kinds ...string) func(func(resource) bool) {
	return func(yield func(resource) bool) {
		for _, id := range slices.Sorted(maps.Keys(t.resources)) {
			r := t.resource(id)
			if (len(kinds) == 0 || slices.Contains(kinds, r.kind)) && !yield(r) {
				return
			}
		}
	}
}

const serverlessFunction = "AWS::Serverless::Function"

func (t *template) resource(id string) resource {
	attrs := dict(t.resources[id])
	r := resource{in: t, id: id, kind: text(attrs["Type"]), attrs: attrs, props: dict(attrs["Properties"])}
	if r.kind == serverlessFunction {
		r.props = merged(dict(t.globals["Function"]), r.props)
	}
	return r
}

// merged lays one mapping over another, as SAM does with Globals.
func merged(under, over object) object {
	all := maps.Clone(under)
	for key, value := range over {
		below, isMap := all[key].(object)
		above, isMapToo := value.(object)
		if isMap && isMapToo && !isFunction(above) {
			value = merged(below, above)
		}
		all[key] = value
	}
	return all
}

// find is the one resource of that name in any template.
func (s *system) find(id string) resource {
	for _, t := range s.templates() {
		if _, ok := t.resources[id]; ok {
			return t.resource(id)
		}
	}
	return resource{in: s.root, id: id}
}

// dict, list and text read a value of a template; what is something else is empty.
func dict(v any) object { m, _ := v.(object); return m }
func list(v any) []any  { l, _ := v.([]any); return l }
func text(v any) string {
	switch v := v.(type) {
	case string:
		return v
	case nil, object, []any:
		return ""
	}
	return fmt.Sprint(v)
}

// at goes down a path of keys.
func at(v any, path ...string) any {
	for _, key := range path {
		v = dict(v)[key]
	}
	return v
}

// isFunction tells {"Ref": ...} and {"Fn::...": ...} from data.
func isFunction(m object) bool {
	if len(m) != 1 {
		return false
	}
	for key := range m {
		return key == "Ref" || strings.HasPrefix(key, "Fn::")
	}
	return false
}

// choices are what a value may turn out to be: both branches of every Fn::If,
// without those that leave it out.
func choices(v any) []any {
	m := dict(v)
	if branches := list(m["Fn::If"]); len(branches) == 3 {
		return append(choices(branches[1]), choices(branches[2])...)
	}
	if m["Ref"] == "AWS::NoValue" {
		return nil
	}
	return []any{v}
}

// items of a list, those under a condition too.
func items(v any) (all []any) {
	for _, choice := range choices(v) {
		for _, item := range list(choice) {
			for _, one := range choices(item) {
				if inner := list(one); inner != nil {
					all = append(all, inner...)
					continue
				}
				all = append(all, one)
			}
		}
	}
	return all
}

// words are the items of a list, or the one string in its place.
func words(v any) (all []string) {
	if s := text(v); s != "" {
		return []string{s}
	}
	for _, item := range items(v) {
		all = append(all, text(item))
	}
	return all
}

// walk visits a value and everything in it.
func walk(v any, visit func(v any)) {
	visit(v)
	switch v := v.(type) {
	case object:
		for _, key := range slices.Sorted(maps.Keys(v)) {
			walk(v[key], visit)
		}
	case []any:
		for _, item := range v {
			walk(item, visit)
		}
	}
}

// show is a value for a message.
func show(v any) string { return strings.ReplaceAll(fmt.Sprint(v), "map[", "{") }
