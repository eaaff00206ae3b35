package release

import (
	"encoding/json"
	"os"
	"path/filepath"
	"testing"
)

// TestTheListOfParts holds that the SBOM is in CycloneDX's form, and that it tells
// what decides the licence of a program.
func TestTheListOfParts(t *testing.T) {
	t.Parallel()
	all := built(t, native)
	dir := t.TempDir()
	for image, program := range map[string]string{"connector": "connector", "control": "api"} {
		made := target(t, "sbom", "SBOM_OF="+program, "SBOM_FROM="+all.get(t, image).dir, "SBOM_DIR="+dir, "VERSION="+stamped)
		if out, err := made.CombinedOutput(); err != nil {
			t.Fatalf("make sbom: %v\n%s", err, out)
		}
	}
	copyleft := []string{"go.mau.fi/whatsmeow", "go.mau.fi/libsignal"}
	for program, whole := range map[string]bool{"connector": true, "api": false} {
		text, err := os.ReadFile(filepath.Join(dir, program+".cdx.json"))
		if err != nil {
			t.Fatal(err)
		}
		var list struct {
			BOMFormat string
			Metadata  struct {
				Component struct{ Name, Version string }
			}
			Components []struct {
				Name, Version, PURL string
				Evidence            struct {
					Licenses []struct{ License struct{ ID string } }
				}
			}
		}
		if err := json.Unmarshal(text, &list); err != nil || list.BOMFormat != "CycloneDX" || list.Metadata.Component.Name != "github.com/wafleet/wafleet" || list.Metadata.Component.Version != stamped {
			t.Fatalf("%s: %v, %+v", program, err, list.Metadata)
		}
		found := map[string]string{}
		for _, c := range list.Components {
			found[c.Name] = c.Version
			if c.Version == "" || c.PURL == "" {
				t.Errorf("%s: %s has version %q, address %q", program, c.Name, c.Version, c.PURL)
			}
		}
		if found["github.com/lib/pq"] == "" {
			t.Errorf("%s: lib/pq is missing", program)
		}
		for _, module := range copyleft {
			if (found[module] != "") != whole {
				t.Errorf("%s: %s is listed as %q", program, module, found[module])
			}
		}
	}
}
