package conformance

import (
	"encoding/json"
	"strings"
	"testing"
	"time"
)

// TestTheContract asks every endpoint, in every state, as every caller, at both
// doors, and waits for what each request promises.
func TestTheContract(t *testing.T) {
	t.Parallel()
	s := newSystem(t)
	trials := s.trials()
	began := time.Now()
	fixtures := s.cast(trials)
	s.prepare(fixtures)
	prepared := time.Since(began)
	s.askAll(trials)
	t.Logf("%d cases at %d doors with %d sessions: prepared in %v, asked and settled in %v",
		len(trials), len(s.doors()), len(fixtures), prepared.Round(time.Millisecond), (time.Since(began) - prepared).Round(time.Millisecond))
	if len(trials) < 300 {
		t.Errorf("%d cases are fewer than 300", len(trials))
	}
	s.nothingLeft(trials)
	report(t, trials)
	s.end(trials)
}

// askAll asks first and waits afterwards, so that the waits are one.
func (s *system) askAll(trials []*trial) {
	s.Helper()
	const atOnce = 12
	keys := s.keyring()
	of := map[*attempt]*trial{}
	var attempts []*attempt
	for _, t := range trials {
		for _, a := range t.at {
			a.key = keys.keyFor(t, a)
			of[a] = t
			attempts = append(attempts, a)
		}
	}
	each(attempts, atOnce, func(a *attempt) { of[a].ask(a) })
	each(attempts, atOnce, func(a *attempt) { of[a].settle(a) })
}

// report is one subtest per case.
func report(t *testing.T, trials []*trial) {
	for _, one := range trials {
		t.Run(one.name(), func(t *testing.T) {
			for _, a := range one.at {
				for _, fault := range a.faults {
					t.Error(fault)
				}
			}
			for _, fault := range one.compare() {
				t.Error(fault)
			}
		})
	}
}

// end looks for secrets while everything is there, deletes all sessions, and
// looks for what may be there only as long as they are.
func (s *system) end(trials []*trial) {
	s.Helper()
	if !strings.Contains(s.dump()["public.session"], "hooks.example.com") {
		s.Error("what is no secret is not found either")
	}
	s.noSecretInDatabase(append(s.keySecrets(), configSecrets...))
	s.deleteAll(trials)
	s.noSecretInDatabase(append(s.allSecrets(), configSecrets...))
	if left := s.sim.Devices(); len(left) > 0 {
		s.Errorf("WhatsApp still knows %d devices", len(left))
	}
}

// deleteAll deletes every session of every key, and waits until they are gone.
func (s *system) deleteAll(trials []*trial) {
	s.Helper()
	keys := map[string]bool{s.tenant.key: true}
	for _, t := range trials {
		if t.by == foreign {
			for _, a := range t.at {
				keys[a.key] = true
			}
		}
	}
	for key := range keys {
		var sessions []struct{ Name string }
		if err := json.Unmarshal(s.listener.want(200, request{path: "/api/sessions?all=true", key: key}).body, &sessions); err != nil {
			s.Fatal(err)
		}
		each(sessions, 8, func(one struct{ Name string }) {
			if a := s.listener.ask(request{method: "DELETE", path: "/api/sessions/" + one.Name, key: key}); a.status != 200 {
				s.Errorf("deletion of %s: %d %s", one.Name, a.status, a.body)
			}
		})
	}
	s.must("the end of all sessions", func() bool { return s.count(`SELECT count(*) FROM session`) == 0 })
}
