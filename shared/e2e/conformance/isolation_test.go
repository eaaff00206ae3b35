package conformance

import (
	"slices"
	"testing"
	"time"
)

// TestAForeignSessionTakesAsLongAsNone prints how long the API takes to say that
// a session is not there, where there is none and where it is another tenant's.
// The bound is wide because the machine is shared.
func TestAForeignSessionTakesAsLongAsNone(t *testing.T) {
	s := newSystem(t)
	other := s.newTenant("other")
	if a := s.listener.ask(request{method: "POST", path: "/api/sessions", key: other.key, body: `{"name":"theirs","start":false}`}); a.status != 201 {
		t.Fatalf("%d %s", a.status, a.body)
	}
	s.atBothDoors(t, func(t *testing.T, d *door) {
		const times = 200
		took := map[string][]time.Duration{}
		for range times {
			for _, name := range []string{"nobody", "theirs"} {
				began := time.Now()
				d.want(404, request{path: "/api/sessions/" + name, key: s.tenant.key})
				took[name] = append(took[name], time.Since(began))
			}
		}
		unknown, foreign := median(took["nobody"]), median(took["theirs"])
		apart := 100 * (float64(foreign)/float64(unknown) - 1)
		t.Logf("%s: unknown %v, foreign %v: %+.1f %% (aim: within 20 %%)", d.name, unknown, foreign, apart)
		if apart > 100 || apart < -50 {
			t.Errorf("%s tells a foreign session from none: unknown %v, foreign %v", d.name, unknown, foreign)
		}
	})
}

func median(all []time.Duration) time.Duration {
	slices.Sort(all)
	return all[len(all)/2]
}

// TestAKeyInTheURLIsRefused, even beside a good one in the header: it is in the
// log of every proxy on the way.
func TestAKeyInTheURLIsRefused(t *testing.T) {
	t.Parallel()
	s := newSystem(t)
	s.atBothDoors(t, func(t *testing.T, d *door) {
		for _, parameter := range []string{"apikey", "api_key", "x-api-key", "X-Api-Key", "%61pikey"} {
			path := "/api/sessions?all=true&" + parameter + "=" + s.tenant.key
			for _, key := range []string{"", s.tenant.key} {
				if got := d.ask(request{path: path, key: key}); got.status != 400 || got.code() != "INVALID_REQUEST" {
					t.Errorf("%s, a key in the header: %v: %d %s", parameter, key != "", got.status, got.body)
				}
			}
		}
	})
}
