package house

import (
	"encoding/json"
	"errors"
	"io"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

const module = "github.com/wafleet/wafleet"

// pkg is what "go list" says about a package.
type pkg struct {
	Dir          string
	ImportPath   string
	Name         string
	Imports      []string
	TestImports  []string
	XTestImports []string
	GoFiles      []string
	Deps         []string
	Standard     bool
	Module       *struct{ Path, Version, Dir string }
}

// path is the import path below the module.
func (p pkg) path() string { return strings.TrimPrefix(p.ImportPath, module+"/") }

// list runs "go list -json" at the root of the module.
func list(t *testing.T, args ...string) []pkg {
	t.Helper()
	command := exec.Command("go", append([]string{"list", "-json"}, args...)...)
	command.Dir = root(t)
	out, err := command.Output()
	if err != nil {
		t.Fatalf("go list %v: %v", args, err)
	}
	decoder := json.NewDecoder(strings.NewReader(string(out)))
	var packages []pkg
	for {
		var p pkg
		if err := decoder.Decode(&p); errors.Is(err, io.EOF) {
			return packages
		} else if err != nil {
			t.Fatal(err)
		}
		packages = append(packages, p)
	}
}

func root(t *testing.T) string {
	t.Helper()
	dir, err := filepath.Abs(filepath.Join("..", ".."))
	if err != nil {
		t.Fatal(err)
	}
	return dir
}

// under reports whether a package is a directory or below it.
func under(path, directory string) bool {
	return path == directory || strings.HasPrefix(path, directory+"/")
}

func underAny(path string, directories ...string) bool {
	for _, directory := range directories {
		if under(path, directory) {
			return true
		}
	}
	return false
}
