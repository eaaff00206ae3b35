package aws

import (
	"fmt"
	"sync"
	"testing"
)

// A check looks at the system and says what is wrong with it.
type check struct {
	name string
	find func(*system, *report)
}

// checks in the order of their files.
var checks = []check{
	{"references", references},
	{"stacks", stacks},
	{"parameters", parameters},
	{"actions", actions},
	{"any resource", anyResource},
	{"trust", trust},
	{"allowed", allowed},
	{"calls", calls},
	{"encryption", encryption},
	{"private", private},
	{"database", database},
	{"log groups", logGroups},
	{"access log", accessLog},
	{"metrics", metrics},
	{"alarms", alarms},
	{"scaling", scaling},
	{"container", container},
	{"deployment", deployment},
	{"sizes", sizes},
	{"build targets", buildTargets},
	{"architecture", architecture},
	{"environment", environment},
	{"routes", routes},
	{"events", events},
}

// report collects what a check finds.
type report struct {
	system *system
	read   reader
	found  []string
}

func (r *report) add(format string, args ...any) {
	r.found = append(r.found, fmt.Sprintf(format, args...))
}

// want complains unless a value is what it should be.
func (r *report) want(where any, what string, got, want any) {
	if fmt.Sprint(got) != fmt.Sprint(want) {
		r.add("%v: %s is %s, not %s", where, what, show(got), show(want))
	}
}

// run is what one check finds.
func (c check) run(s *system, read reader) []string {
	r := &report{system: s, read: read}
	c.find(s, r)
	return r.found
}

func TestTheTemplatesHold(t *testing.T) {
	t.Parallel()
	for _, c := range checks {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			s := loaded(t)
			for _, found := range c.run(s, fromDisk) {
				t.Error(found)
			}
		})
	}
}

// must is a fact of the repository that no fault changes; where it cannot be
// read there is nothing to test.
func must[T any](read func() (T, error)) func() T {
	return sync.OnceValue(func() T {
		fact, err := read()
		if err != nil {
			panic(err)
		}
		return fact
	})
}
