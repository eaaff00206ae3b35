package main

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"
)

func TestAnEventIsACommandLine(t *testing.T) {
	t.Parallel()
	for event, want := range map[string][]string{
		`{"command":"list-tenants"}`:                                       {"list-tenants"},
		`{"tenant":"a b","command":"create-key","expiresIn":"1h"}`:         {"create-key", "--expires-in=1h", "--tenant=a b"},
		`{"command":"create-key","expires-in":"--x\n'"}`:                   {"create-key", "--expires-in=--x\n'"},
		`{"command":"audit","before":9007199254740993,"x":true,"y":false}`: {"audit", "--before=9007199254740993", "--x=true", "--y=false"},
	} {
		if got, err := argsOf(json.RawMessage(event)); err != nil || !slices.Equal(got, want) {
			t.Errorf("%s: %q, %v", event, got, err)
		}
	}
}

func TestOddEventsAreRefused(t *testing.T) {
	t.Parallel()
	for event, says := range map[string]string{
		``: "one JSON object", `{}`: "one JSON object", `[]`: "one JSON object", `null`: "one JSON object", `"list-tenants"`: "one JSON object",
		`{"command":""}`: "one JSON object", `{"command":1}`: "one JSON object", `{"command":"--help"}`: "one JSON object", `{"command":"a b"}`: "one JSON object",
		`{"command":"what"}`:                                                        "unexpected argument what",
		`{"command":"list-tenants","help":true}`:                                    "unknown flag --help",
		`{"command":"list-tenants","json":true}`:                                    "unknown flag --json",
		`{"command":"list-tenants","tenant":"acme"}`:                                "unknown flag --tenant",
		`{"command":"create-key","tenant":"acme","password":"x"}`:                   "unknown flag --password",
		`{"command":"list-keys","tenant":"a","tenant":"b"}`:                         "must not be there twice",
		`{"command":"create-key"}`:                                                  "--tenant",
		`{"command":"create-key","tenant":null}`:                                    "tenant must be a string",
		`{"command":"create-key","tenant":["acme"]}`:                                "tenant must be a string",
		`{"command":"create-key","tenant":{}}`:                                      "tenant must be a string",
		`{"command":"create-key","tenant":"acme","expiresIn":"1h","expires-in":""}`: "given twice",
		`{"command":"create-key","-tenant":"acme"}`:                                 "no name of a field",
		`{"command":"create-key","tenant=acme --x":"acme"}`:                         "no name of a field",
		`{"command":"create-key","Tenant":"acme"}`:                                  "no name of a field",
		`{"command":"set-quota","tenant":"acme","sessions":"many"}`:                 "--sessions",
		`{"command":"set-quota","tenant":"acme","sessions":1.5}`:                    "--sessions",
		`{"command":"set-quota","tenant":"acme"}`:                                   "--sessions",
		`{"command":"set-quota","tenant":"acme","sessions":1,"default":true}`:       "can't be used together",
	} {
		if _, err := parseEvent(json.RawMessage(event)); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%s: %v, want %q", event, err, says)
		}
	}
}

func FuzzEvent(f *testing.F) {
	f.Add(`{"command":"create-key","tenant":"acme","expiresIn":"1h"}`)
	f.Add(`{"command":"list-tenants","help":true}`)
	f.Fuzz(func(t *testing.T, event string) {
		line, err := parseEvent(json.RawMessage(event))
		if err == nil && selected(line) == nil {
			t.Fatalf("%s is no command", event)
		}
	})
}
