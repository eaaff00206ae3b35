// Command licences collects the licences of what programs link into a directory,
// to go with an image of them.
//
//	licences -o DIRECTORY PACKAGE...
//
// DIRECTORY/MODULE/ holds the licence and notice files of a module as its authors
// wrote them, "go" those of the standard library; DIRECTORY/MODULES names the
// modules with their versions, so that their sources can be found. It runs the go
// command, and finds the modules where that keeps them.
package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
)

func main() {
	to := flag.String("o", "", "the `directory` to write to")
	flag.Parse()
	if err := run(*to, flag.Args()); err != nil {
		fmt.Fprintln(os.Stderr, "licences:", err)
		os.Exit(1)
	}
}

// module is one that a program links. Its version is empty for the main module.
type module struct{ Path, Version, Dir string }

func run(to string, packages []string) error {
	if to == "" || len(packages) == 0 {
		return errors.New("usage: licences -o DIRECTORY PACKAGES")
	}
	linked, err := modulesOf(packages)
	if err != nil {
		return err
	}
	var list strings.Builder
	for _, m := range linked {
		if err := collect(m, filepath.Join(to, filepath.FromSlash(m.Path))); err != nil {
			return fmt.Errorf("%s: %w", m.Path, err)
		}
		fmt.Fprintln(&list, strings.TrimSpace(m.Path+" "+m.Version))
	}
	return os.WriteFile(filepath.Join(to, "MODULES"), []byte(list.String()), 0o644) // #nosec G306 G703 -- for everybody to read, and named by who builds the image
}

// modulesOf asks the go command, and puts the standard library first.
func modulesOf(packages []string) ([]module, error) {
	out, err := goCommand(append([]string{"list", "-deps", "-json=Module"}, packages...)...)
	if err != nil {
		return nil, err
	}
	var linked []module
	for decoder := json.NewDecoder(bytes.NewReader(out)); ; {
		var found struct{ Module *module }
		if err := decoder.Decode(&found); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			return nil, err
		}
		if found.Module != nil && !slices.Contains(linked, *found.Module) {
			linked = append(linked, *found.Module)
		}
	}
	slices.SortFunc(linked, func(a, b module) int { return strings.Compare(a.Path, b.Path) })
	root, err := goCommand("env", "GOROOT")
	if err != nil {
		return nil, err
	}
	std := module{"go", runtime.Version(), strings.TrimSpace(string(root))}
	return append([]module{std}, linked...), nil
}

func goCommand(args ...string) ([]byte, error) {
	var problem bytes.Buffer
	command := exec.Command("go", args...) // #nosec G204 -- asking about the packages of its caller is what it is for
	command.Stderr = &problem
	out, err := command.Output()
	if err != nil {
		return nil, fmt.Errorf("go %s: %w\n%s", args[0], err, &problem)
	}
	return out, nil
}

// wanted are files at a module's root that its licence asks to be kept.
var wanted = regexp.MustCompile(`(?i)^(licen[cs]e|copying|notice|patents|authors)`)

// collect copies a module's files. A module without any is an error: nobody may
// distribute it.
func collect(m module, to string) error {
	entries, err := os.ReadDir(m.Dir)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(to, 0o755); err != nil { // #nosec G301 -- for everybody to read
		return err
	}
	found := false
	for _, entry := range entries {
		if !entry.Type().IsRegular() || !wanted.MatchString(entry.Name()) {
			continue
		}
		text, err := os.ReadFile(filepath.Join(m.Dir, entry.Name())) // #nosec G304 -- a file of a module
		if err == nil {
			err = os.WriteFile(filepath.Join(to, entry.Name()), text, 0o644) // #nosec G306 G703 -- for everybody to read, and named by who builds the image
		}
		if err != nil {
			return err
		}
		found = found || !strings.EqualFold(entry.Name()[:min(len(entry.Name()), 7)], "authors")
	}
	if !found {
		return errors.New("no licence is at its root")
	}
	return nil
}
