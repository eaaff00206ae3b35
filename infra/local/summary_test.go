package main

import (
	"strings"
	"testing"
)

func TestSummarySaysWhatIsUsed(t *testing.T) {
	t.Parallel()
	base := summary{set: settings{Port: 18080, ControlPort: 18081, Connectors: 2, Slots: 200}, key: "k'1", postgres: "private", data: "/d"}
	for name, test := range map[string]struct {
		to       endpoint
		has, not []string
	}{
		"simulator": {
			endpoint{choice: chooseSimulator, because: "no network"},
			[]string{"SIMULATED, no message reaches a real phone: no network", "http://127.0.0.1:18081", "make scan SESSION=my-session"}, nil,
		},
		"real":     {endpoint{choice: chooseReal}, []string{"the real one", "Linked devices"}, []string{"SIMULATED", "18081", "make scan"}},
		"override": {endpoint{choice: chooseOverride, dialAddr: "h:1"}, []string{"OVERRIDDEN: connectors dial h:1"}, []string{"18081"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := base
			s.to = test.to
			text := s.text(newConsole(&page{}, false))
			always := []string{"http://127.0.0.1:18080/api/sessions/my-session/start", `-H 'apikey: k'\''1'`, documentedBody, "2 x 200 slots", "/d"}
			for _, want := range append(always, test.has...) {
				if !strings.Contains(text, want) {
					t.Errorf("%q is missing in:\n%s", want, text)
				}
			}
			for _, bad := range append(test.not, "\x1b") {
				if strings.Contains(text, bad) {
					t.Errorf("%q is in:\n%s", bad, text)
				}
			}
		})
	}
}
