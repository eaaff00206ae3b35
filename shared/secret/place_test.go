package secret_test

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/wafleet/wafleet/shared/secret"
)

func TestPlace(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "secrets.key")
	if err := secret.CreateFile(path); err != nil {
		t.Fatal(err)
	}
	k := far.NewKey(t)
	for _, tt := range []struct{ file, kms, kind string }{{"", "", "none"}, {path, "", "file"}, {"", k.ARN, "kms"}} {
		place, err := secret.ParsePlace(tt.file, tt.kms)
		if err != nil || place.String() != tt.kind {
			t.Errorf("%s, %v; want %s", place, err, tt.kind)
			continue
		}
		box := place.Box(table(t))
		if (box == nil) != (tt.kind == "none") {
			t.Errorf("%s: %v", tt.kind, box)
		}
		if box != nil {
			opens(t, box, seal(t, box))
		}
	}
	counts(t, k, 1, 1)
}

func TestEveryMistakeOfAPlaceIsNamed(t *testing.T) {
	t.Parallel()
	place, err := secret.ParsePlace(filepath.Join(t.TempDir(), "none"), "alias/x")
	if err == nil || place.String() != "none" || place.Box(nil) != nil {
		t.Fatalf("%s, %v", place, err)
	}
	for _, want := range []string{"SECRETS_KEY_FILE and SECRETS_KMS_KEY must not", "SECRETS_KEY_FILE: ", "SECRETS_KMS_KEY must be the ARN"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("no %q in %v", want, err)
		}
	}
}
