package conformance

import (
	"fmt"
	"strings"

	"github.com/wafleet/wafleet/functions/httpapi"
	"github.com/wafleet/wafleet/shared/store"
)

// trial is one case: a row of the contract, a state and a caller, at both doors.
type trial struct {
	endpoint
	in   state
	by   caller
	want cell
	at   []*attempt // one per door
}

// attempt is a trial at one door.
type attempt struct {
	door    *door
	fixture *fixture
	key     string
	answer  answer
	faults  []string
}

// kept reports whether the caller's session still has its device afterwards.
func (t *trial) kept() bool { return t.in.linked() && t.by != foreign && !t.unlinks }

func (t *trial) name() string { return fmt.Sprintf("%s/%s/%s", t.row, t.in, t.by) }

func (a *attempt) fault(format string, args ...any) {
	a.faults = append(a.faults, a.door.name+": "+fmt.Sprintf(format, args...))
}

// trials is every case of the contract.
func (s *system) trials() (all []*trial) {
	s.Helper()
	for _, e := range rows(s.TB) {
		for _, in := range append([]state{badName}, columns...) {
			for _, by := range callers {
				all = append(all, &trial{endpoint: e, in: in, by: by, want: e.answer(by, in)})
			}
		}
	}
	return all
}

// cast gives every trial its sessions and returns them: one for each attempt
// that changes something, and one per state for all others.
func (s *system) cast(trials []*trial) (fixtures []*fixture) {
	s.Helper()
	shared := map[state]*fixture{}
	for _, in := range append([]state{badName}, columns...) {
		shared[in] = s.newFixture(in)
		fixtures = append(fixtures, shared[in])
	}
	for _, t := range trials {
		for _, d := range s.doors() {
			a := &attempt{door: d, fixture: shared[t.in]}
			if t.want.after != "" {
				a.fixture = s.newFixture(t.in)
				fixtures = append(fixtures, a.fixture)
			}
			t.at = append(t.at, a)
		}
	}
	return fixtures
}

// keyring has the keys of the callers.
type keyring struct {
	*system
	foreign string
	revoked map[string]string // by row: a key that is refused too often is asked to wait
	scopes  map[string]string // by scope and session
}

func (s *system) keyring() *keyring {
	s.Helper()
	return &keyring{system: s, foreign: s.newTenant("other").key, revoked: map[string]string{}, scopes: map[string]string{}}
}

// keyFor is the key of a trial's caller. Another tenant's key that creates
// something is that of a tenant with nothing else.
func (k *keyring) keyFor(t *trial, a *attempt) string {
	k.Helper()
	switch t.by {
	case nobody:
		return ""
	case foreign:
		if t.want.after != "" {
			return k.newTenant("other of " + a.fixture.name).key
		}
		return k.foreign
	case revoked:
		if k.revoked[t.row] == "" {
			k.revoked[t.row] = k.revokedKey()
		}
		return k.revoked[t.row]
	case member:
		return k.scoped(store.ScopeTenant, "")
	case bound:
		if t.in == badName {
			return k.scoped(store.ScopeSession, "some-session")
		}
		return k.scoped(store.ScopeSession, a.fixture.name)
	case elsewhere:
		return k.scoped(store.ScopeSession, "some-session")
	case reader:
		return k.scoped(store.ScopeRead, "")
	}
	return k.tenant.key
}

func (k *keyring) scoped(as store.Scope, name string) string {
	k.Helper()
	id := string(as) + "/" + name
	if k.scopes[id] == "" {
		k.scopes[id] = k.scopedKey(as, name)
	}
	return k.scopes[id]
}

// ask sends the trial's request at one door.
func (t *trial) ask(a *attempt) {
	r := request{method: t.method, path: strings.Replace(t.path, "{s}", a.fixture.name, 1), key: a.key}
	if t.body != nil {
		r.body = t.body(*a.fixture)
		r.header = map[string][]string{"Content-Type": {"application/json"}}
	}
	const tries = 3
	for range tries {
		if a.answer = a.door.ask(r); a.answer.text("code") != string(httpapi.CodePairingCodeTimeout) {
			break // else the machine is busy, and the answer says to try again
		}
	}
	t.check(a)
}
