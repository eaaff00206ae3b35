package session_test

import (
	"testing"

	"github.com/wafleet/wafleet/shared/session"
)

func TestAFieldThatIsThereTwiceIsRefused(t *testing.T) {
	t.Parallel()
	for body, field := range map[string]string{
		`{"config":{},"config":{}}`:                       "config",
		`{"config":{"log":{"level":"INFO","level":"X"}}}`: "config.log.level",
		`{"x":[1,[2],{"a":1,"\u0061":2}]}`:                "x[2].a",
		`{"x":{"a":{},"b":[]},"y":{"b":{},"b":1}}`:        "y.b",
		`{"":{"":1,"":2}}`:                                "body", // a field without a name
		`{"a":1e999,"b":{"c":[[],{}],"c":0}}`:             "b.c",
	} {
		_, err := session.DecodeStart([]byte(body), session.Defaults{})
		if found := problems(t, err); len(found) != 1 || found[0] != field {
			t.Errorf("%s: %v", body, found)
		}
	}
	for _, body := range []string{`{"a":{"a":{"a":1}},"b":[{"a":1},{"a":1}],"":{"":""},"c":"c","d":["d","d"]}`, `{"A":1,"a":2}`, `{}`, ``} {
		if _, err := session.DecodeStart([]byte(body), session.Defaults{}); err != nil {
			t.Errorf("%s: %v", body, err)
		}
	}
}

// What is stored is taken as it is.
func TestAStoredConfigIsNotSearchedForDuplicates(t *testing.T) {
	t.Parallel()
	var config session.Config
	if err := config.UnmarshalJSON([]byte(`{"log":{"level":"INFO"},"log":{"level":"WARN"}}`)); err != nil || config.Log.Level != session.LevelWarn {
		t.Errorf("%+v, error %v", config.Log, err)
	}
}
