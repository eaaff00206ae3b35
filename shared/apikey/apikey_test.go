package apikey_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"regexp"
	"strings"
	"testing"

	"github.com/wafleet/wafleet/shared/apikey"
)

func TestNewKeyIsRecognised(t *testing.T) {
	t.Parallel()
	key := apikey.New()
	if !regexp.MustCompile(`^wf_[a-z2-7]{16}_[a-z2-7]{52}$`).MatchString(key.Reveal()) {
		t.Fatalf("form of a new key: %q", key.Reveal())
	}
	id, hash, err := apikey.Parse(key.Reveal())
	if err != nil || id != key.ID() || hash != key.Hash() {
		t.Fatalf("Parse = %q, %x, %v; want %q, %x", id, hash, err, key.ID(), key.Hash())
	}
	if apikey.Loggable(id) != id {
		t.Errorf("Loggable(%q) = %q", id, apikey.Loggable(id))
	}
	stored := key.Hash()
	if !apikey.Matches(stored[:], hash) {
		t.Error("a key does not match its own hash")
	}
	other := apikey.New().Hash()
	if apikey.Matches(other[:], hash) || apikey.Matches(nil, hash) {
		t.Error("a key matches another hash")
	}
	if apikey.New().Reveal() == key.Reveal() {
		t.Error("two new keys are the same")
	}
}

func TestKeyOfAnotherForm(t *testing.T) {
	t.Parallel()
	seen := map[string]string{}
	for _, text := range []string{"k", "K", "secret", "wf_", "wf_abc_def", "own-0011223344556677", "a/b+c=="} {
		id, _, err := apikey.Parse(text)
		if err != nil {
			t.Errorf("Parse(%q): %v", text, err)
		}
		if apikey.Loggable(id) != "own-[redacted]" {
			t.Errorf("Loggable(%q) = %q", id, apikey.Loggable(id))
		}
		again, _, _ := apikey.Parse(text)
		if !apikey.IsID(id) {
			t.Errorf("%q is no id", id)
		}
		if again != id || !strings.HasPrefix(id, "own-") {
			t.Errorf("Parse(%q) = id %q, then %q", text, id, again)
		}
		if other, taken := seen[id]; taken {
			t.Errorf("%q and %q share the id %q", text, other, id)
		}
		seen[id] = text
	}
}

func TestWeak(t *testing.T) {
	t.Parallel()
	for text, weak := range map[string]bool{"": true, "k": true, strings.Repeat("k", 15): true, strings.Repeat("k", 16): false, "wf_abc_def": true, apikey.New().Reveal(): false} {
		if apikey.Weak(text) != weak {
			t.Errorf("Weak(%q) = %v", text, !weak)
		}
	}
}

func TestIsID(t *testing.T) {
	t.Parallel()
	own := apikey.New().ID()
	for text, is := range map[string]bool{own: true, "own-0011223344556677": true, "": false, own + "a": false, strings.ToUpper(own): false, "own-xyz": false, "a\x00": false} {
		if apikey.IsID(text) != is {
			t.Errorf("IsID(%q) = %v", text, !is)
		}
	}
}

func TestMalformed(t *testing.T) {
	t.Parallel()
	for _, text := range []string{"", " ", "a b", "a,b", "a\n", "a\x00", "ключ", strings.Repeat("k", 257)} {
		if id, hash, err := apikey.Parse(text); !errors.Is(err, apikey.ErrMalformed) || id != "" || hash != (apikey.Hash{}) {
			t.Errorf("Parse(%q) = %q, %x, %v; want ErrMalformed", text, id, hash, err)
		}
	}
}

func TestKeyPrintsRedacted(t *testing.T) {
	t.Parallel()
	key := apikey.New()
	var out bytes.Buffer
	fmt.Fprintf(&out, "%v %s %q %+v %#v %v", key, key, key, key, key, []apikey.Key{key})
	slog.New(slog.NewJSONHandler(&out, nil)).Info("made", "key", key)
	if err := json.NewEncoder(&out).Encode(map[string]any{"key": key}); err != nil {
		t.Fatal(err)
	}
	if secret := key.Reveal()[len(key.Reveal())-52:]; strings.Contains(out.String(), secret) {
		t.Errorf("the secret is in %s", out.String())
	}
}

func FuzzParse(f *testing.F) {
	f.Add(apikey.New().Reveal())
	f.Add("k")
	f.Add("wf__")
	f.Fuzz(func(t *testing.T, text string) {
		id, hash, err := apikey.Parse(text)
		if (err == nil) != (id != "") || (err == nil) != (hash != apikey.Hash{}) {
			t.Fatalf("Parse(%q) = %q, %x, %v", text, id, hash, err)
		}
	})
}
