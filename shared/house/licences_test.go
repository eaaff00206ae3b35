package house

import (
	"flag"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/licensecheck"
)

// update rewrites licences.txt: go test ./shared/house -run Licences -update
var update = flag.Bool("update", false, "rewrite licences.txt")

const licenceList = "licences.txt"

// unrecognised licences, read by a person.
var readByHand = map[string]string{
	"github.com/xi2/xz": "public domain",
}

// programs is what somebody may distribute.
var programs = []string{"functions/admin", "functions/api", "functions/migrate", "functions/sweep", "connector", "connector/guard", "infra/local", "shared/wasim/cmd/wasim"}

// TestLicences keeps the list of linked modules and their licences true, and
// the copyleft ones out of the functions and the guard.
func TestLicences(t *testing.T) {
	t.Parallel()
	var text strings.Builder
	text.WriteString("What each program links beside the standard library. wafleet itself is Apache-2.0.\n")
	for _, program := range programs {
		linked := licencesOf(t, program)
		fmt.Fprintf(&text, "\n%s\n", program)
		for _, name := range slices.Sorted(maps.Keys(linked)) {
			fmt.Fprintf(&text, "    %-50s %s\n", name, linked[name])
			if (strings.HasPrefix(program, "functions/") || program == "connector/guard") && (strings.Contains(linked[name], "GPL") || strings.Contains(linked[name], "MPL")) {
				t.Errorf("%s links %s, which is %s", program, name, linked[name])
			}
		}
	}
	file := licenceList
	if *update {
		if err := os.WriteFile(file, []byte(text.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	stored, err := os.ReadFile(file)
	if err != nil || string(stored) != text.String() {
		t.Errorf("%s is out of date (%v): go test ./shared/house -run Licences -update", licenceList, err)
	}
}

// licencesOf maps the modules that a program links to their licences.
func licencesOf(t *testing.T, program string) map[string]string {
	t.Helper()
	linked := map[string]string{}
	for _, p := range list(t, "-deps", "./"+program) {
		if p.Standard || p.Module == nil || p.Module.Path == module {
			continue
		}
		if _, known := linked[p.Module.Path]; !known {
			licence, known := readByHand[p.Module.Path]
			if !known {
				licence = licenceIn(t, p.Module.Dir)
			}
			linked[p.Module.Path] = licence
		}
	}
	return linked
}

// licenceIn recognises the licence files at the root of a module.
func licenceIn(t *testing.T, dir string) string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "*"))
	if err != nil {
		t.Fatal(err)
	}
	found := map[string]bool{}
	for _, file := range files {
		name := strings.ToUpper(filepath.Base(file))
		if !strings.HasPrefix(name, "LICEN") && !strings.HasPrefix(name, "COPYING") {
			continue
		}
		text, err := os.ReadFile(file)
		if err != nil {
			continue // a directory
		}
		for _, match := range licensecheck.Scan(text).Match {
			found[match.ID] = true
		}
	}
	if len(found) == 0 {
		t.Errorf("no licence is recognised in %s", dir)
	}
	return strings.Join(slices.Sorted(maps.Keys(found)), ", ")
}
