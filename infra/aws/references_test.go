package aws

import (
	"maps"
	"regexp"
	"slices"
	"strings"
)

var (
	pseudo = []string{"AWS::AccountId", "AWS::NoValue", "AWS::Partition", "AWS::Region", "AWS::StackId", "AWS::StackName", "AWS::URLSuffix"}
	hole   = regexp.MustCompile(`\$\{([^!}][^}]*)\}`)
)

// references: every Ref, GetAtt, Sub, condition, mapping and DependsOn names
// something that its template has.
func references(s *system, r *report) {
	for _, t := range s.templates() {
		walk(object{"r": t.resources, "o": t.outputs, "g": t.globals, "c": t.conditions, "rules": t.all["Rules"]}, func(v any) {
			m := dict(v)
			if to := text(m["Ref"]); to != "" && len(m) == 1 {
				t.refers(r, to)
			}
			if pair := list(m["Fn::GetAtt"]); pair != nil {
				t.gets(r, s, text(pair[0]), text(pair[1]))
			}
			if _, ok := m["Fn::Sub"]; ok {
				t.substitutes(r, s, m["Fn::Sub"])
			}
			if branches := list(m["Fn::If"]); branches != nil {
				t.depends(r, text(branches[0]))
			}
			if condition := text(m["Condition"]); condition != "" {
				t.depends(r, condition)
			}
			if path := list(m["Fn::FindInMap"]); path != nil {
				t.maps(r, path)
			}
			if m["Fn::ImportValue"] != nil {
				r.add("%s: ImportValue ties stacks together that are not nested: %s", t.file, show(m))
			}
		})
		for one := range t.each() {
			for _, to := range words(one.attrs["DependsOn"]) {
				if _, ok := t.resources[to]; !ok {
					r.add("%v depends on %s, which is not there", one, to)
				}
			}
		}
	}
}

func (t *template) refers(r *report, to string) {
	name, suffix, _ := strings.Cut(to, ".")
	_, isParameter := t.parameters[name]
	_, isResource := t.resources[name]
	generated := suffix == "" || strings.HasPrefix(t.resource(name).kind, "AWS::Serverless::")
	if !(isParameter && suffix == "") && !(isResource && generated) && !slices.Contains(pseudo, to) {
		r.add("%s: Ref %s leads nowhere", t.file, to)
	}
}

// gets checks outputs of nested stacks; whether other resources have such an
// attribute the linters know.
func (t *template) gets(r *report, s *system, id, attribute string) {
	if _, ok := t.resources[id]; !ok || attribute == "" {
		r.add("%s: GetAtt %s.%s leads nowhere", t.file, id, attribute)
		return
	}
	if nested, ok := s.nested[id]; ok && t == s.root {
		output, isOutput := strings.CutPrefix(attribute, "Outputs.")
		if _, declared := nested.outputs[output]; !isOutput || !declared {
			r.add("%s: %s has no output %s", t.file, nested.file, attribute)
		}
	}
}

func (t *template) substitutes(r *report, s *system, v any) {
	pattern, given := text(v), object{}
	if pair := list(v); len(pair) == 2 {
		pattern, given = text(pair[0]), dict(pair[1])
	}
	used := map[string]bool{}
	for _, match := range hole.FindAllStringSubmatch(pattern, -1) {
		name := match[1]
		used[name] = true
		if _, ok := given[name]; ok {
			continue
		}
		if id, attribute, isAttribute := strings.Cut(name, "."); isAttribute {
			t.gets(r, s, id, attribute)
			continue
		}
		t.refers(r, name)
	}
	for name := range given {
		if !used[name] {
			r.add("%s: Sub is given %s, which %q does not use", t.file, name, pattern)
		}
	}
}

func (t *template) depends(r *report, condition string) {
	if _, ok := t.conditions[condition]; !ok {
		r.add("%s: there is no condition %s", t.file, condition)
	}
}

// maps follows FindInMap, for every value that the parameter in it may have.
func (t *template) maps(r *report, path []any) {
	table, ok := t.mappings[text(path[0])].(object)
	if !ok || len(path) != 3 {
		r.add("%s: there is no mapping %s", t.file, text(path[0]))
		return
	}
	keys := []string{text(path[1])}
	if parameter := text(at(path[1], "Ref")); parameter != "" {
		keys = words(at(t.parameters[parameter], "AllowedValues"))
	}
	for _, key := range keys {
		if at(table, key, text(path[2])) == nil {
			r.add("%s: the mapping %s has no %s.%s", t.file, text(path[0]), key, text(path[2]))
		}
	}
}

// stacks: a nested stack is given the parameters that it has, all without a
// default, and every output of it is used.
func stacks(s *system, r *report) {
	used := map[string]bool{}
	walk(s.root.all, func(v any) {
		if pair := list(dict(v)["Fn::GetAtt"]); pair != nil {
			used[text(pair[0])+"."+text(pair[1])] = true
		}
		for _, pattern := range append(words(dict(v)["Fn::Sub"]), text(dict(v)["Fn::Sub"])) {
			for _, match := range hole.FindAllStringSubmatch(pattern, -1) {
				used[match[1]] = true
			}
		}
	})
	for _, id := range slices.Sorted(maps.Keys(s.nested)) {
		nested := s.nested[id]
		given := dict(s.root.resource(id).props["Parameters"])
		for name := range given {
			if _, ok := nested.parameters[name]; !ok {
				r.add("%s is given %s, which %s does not declare", id, name, nested.file)
			}
		}
		for name, declared := range nested.parameters {
			if _, ok := given[name]; !ok && at(declared, "Default") == nil {
				r.add("%s is not given %s", id, name)
			}
		}
		for output := range nested.outputs {
			if !used[id+".Outputs."+output] {
				r.add("nobody uses the output %s of %s", output, nested.file)
			}
		}
	}
}

// parameters: what an operator gives is bounded, and every one is used.
func parameters(s *system, r *report) {
	free := []string{"CorsOrigins", "DatabaseSnapshot"} // any text; the program, or RDS, reads it
	for name, declared := range s.root.parameters {
		d := dict(declared)
		bounded := d["AllowedValues"] != nil || d["AllowedPattern"] != nil || d["MinValue"] != nil
		if !bounded && !slices.Contains(free, name) {
			r.add("the parameter %s takes anything", name)
		}
		if allowed := words(d["AllowedValues"]); allowed != nil && d["Default"] != nil && !slices.Contains(allowed, text(d["Default"])) {
			r.add("the default of %s is not allowed", name)
		}
		if pattern := text(d["AllowedPattern"]); pattern != "" && d["Default"] != nil && !regexp.MustCompile(pattern).MatchString(text(d["Default"])) {
			r.add("the default of %s does not match its pattern", name)
		}
	}
	for _, t := range s.templates() {
		used := map[string]bool{}
		note := func(v any) {
			used[text(dict(v)["Ref"])] = true
			for _, pattern := range append(words(dict(v)["Fn::Sub"]), text(dict(v)["Fn::Sub"])) {
				for _, match := range hole.FindAllStringSubmatch(pattern, -1) {
					used[match[1]] = true
				}
			}
		}
		walk(t.all, note)
		for name := range t.parameters {
			if !used[name] {
				r.add("%s: nothing uses the parameter %s", t.file, name)
			}
		}
	}
}
