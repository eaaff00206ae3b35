package chaos

import (
	"slices"
	"testing"
	"time"
)

func scenarioOf(seed uint64) scenario {
	return scenario{
		seed: seed, lasts: time.Minute, lease: 4 * time.Second, residents: 3,
		paired: []string{"a", "b", "c"}, waiting: []string{"d", "e"},
	}
}

// TestThePlanIsAFunctionOfTheSeed: else no seed replays anything.
func TestThePlanIsAFunctionOfTheSeed(t *testing.T) {
	t.Parallel()
	drawn := map[kind]bool{}
	for seed := range uint64(40) {
		steps := plan(scenarioOf(seed))
		if again := plan(scenarioOf(seed)); !slices.Equal(steps, again) {
			t.Fatalf("seed %d has two plans", seed)
		}
		if slices.Equal(steps, plan(scenarioOf(seed+1))) {
			t.Errorf("seeds %d and %d have the same plan", seed, seed+1)
		}
		for _, s := range steps {
			drawn[s.kind] = true
		}
	}
	for _, c := range choices {
		if !drawn[c.kind] {
			t.Errorf("%q is in no plan", c.kind)
		}
	}
}

// TestAPlaceHasOneFaultAtATime: else one would be undone by the other's end.
func TestAPlaceHasOneFaultAtATime(t *testing.T) {
	t.Parallel()
	for seed := range uint64(40) {
		until := map[string]step{}
		spared := map[int]bool{}
		for _, s := range plan(scenarioOf(seed)) {
			place := s.where + s.target
			if before, ok := until[place]; ok && s.lasts > 0 && before.at+before.lasts > s.at {
				t.Errorf("seed %d: at %v %v, and at %v %v", seed, before.at, before, s.at, s)
			}
			if s.lasts > 0 {
				until[place] = s
			}
			if turn := healthy(s.at, 15*time.Second, 3); s.member == turn {
				spared[turn] = true
			}
		}
		if seed%4 != 0 && len(spared) > 0 {
			t.Errorf("seed %d does not let connectors %v alone in their turns", seed, spared)
		}
	}
}

func TestOnlySomeKinds(t *testing.T) {
	t.Parallel()
	s := scenarioOf(3)
	s.only = []kind{crash, apiStop}
	seen := map[kind]int{}
	for _, step := range plan(s) {
		seen[step.kind]++
	}
	if len(seen) != 2 || seen[crash] == 0 || seen[apiStop] == 0 {
		t.Errorf("the plan has %v", seen)
	}
}

// TestTheBriefRunIsWorthIt: another seed has to be found for it where the
// choices changed.
func TestTheBriefRunIsWorthIt(t *testing.T) {
	t.Parallel()
	s := brief
	s.paired, s.waiting = names("linked", briefLinked), names("waiting", briefWaiting)
	planned := map[kind]bool{}
	for _, step := range plan(s) {
		planned[step.kind] = true
	}
	for _, k := range []kind{kill, freeze, replace, join, crash, blackDatabases, cutWhatsApps, killAPI, killSweep, typeCode, scan, apiRestart, apiAnew, apiLogout, apiRemake} {
		if !planned[k] {
			t.Errorf("seed %d has no %q", s.seed, k)
		}
	}
}
