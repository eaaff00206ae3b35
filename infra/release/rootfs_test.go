package release

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
)

// root is that of the repository: the context of the image.
const root = "../.."

const stamped = "9.8.7-test"

// image is one stage put together.
type image struct {
	settings
	dir string // its root file system
}

// images are the last stages, by name, and the size of what they hold.
type images map[string]image

// shared builds each architecture once per test process; the directory is removed
// at the end.
var (
	workshop string
	amd64    = sync.OnceValues(func() (images, error) { return assemble(filepath.Join(workshop, "amd64"), "amd64") })
	arm64    = sync.OnceValues(func() (images, error) { return assemble(filepath.Join(workshop, "arm64"), "arm64") })
)

// native are the images for this machine.
func native() (images, error) {
	if runtime.GOARCH == "arm64" {
		return arm64()
	}
	return amd64()
}

// assemble does what an engine would: it runs the build stage, on this machine and
// in a directory of its own, and copies the last stages together.
func assemble(work, arch string) (images, error) {
	text, err := os.ReadFile(filepath.Join(root, "connector", "Dockerfile"))
	if err != nil {
		return nil, err
	}
	d, err := readDockerfile(string(text))
	if err != nil {
		return nil, err
	}
	m := &machine{
		work: work, file: d, done: map[string]string{},
		args: map[string]string{"TARGETOS": "linux", "TARGETARCH": arch, "VERSION": stamped, "REVISION": "0123abcd"},
	}
	if m.context, err = contextFiles(); err != nil {
		return nil, err
	}
	made := images{}
	for _, s := range d.stages {
		dir := filepath.Join(work, s.name)
		if err := m.make(s, dir); err != nil {
			return nil, fmt.Errorf("stage %s: %w", s.name, err)
		}
		if m.done[s.name] = dir; s.base == "scratch" {
			made[s.name] = image{s.settings, dir}
		}
	}
	return made, nil
}

// machine makes stages.
type machine struct {
	work    string
	file    *dockerfile
	args    map[string]string // what is given on the command line, and by the engine
	context []string          // files, below root
	done    map[string]string // directory of each stage that is ready
}

func (m *machine) make(s *stage, dir string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	for _, step := range s.steps {
		var err error
		if step.copy != nil {
			err = m.copy(step, dir)
		} else {
			err = m.run(s, step, dir)
		}
		if err != nil {
			return err
		}
	}
	for name, value := range m.args {
		for label, text := range s.labels {
			s.labels[label] = strings.ReplaceAll(text, "${"+name+"}", value)
		}
	}
	return os.MkdirAll(filepath.Join(dir, s.workdir), 0o755)
}

// run runs a command of the build stage. Its paths are relative to the working
// directory, so that it does not matter that the root is this machine's.
func (m *machine) run(s *stage, step step, dir string) error {
	if s.base == "scratch" {
		return errors.New("there is no shell to run anything")
	}
	command := exec.Command("sh", "-c", step.run)
	command.Dir = filepath.Join(dir, step.dir)
	command.Env = append(os.Environ(), "GOFLAGS=")
	for name, value := range step.env {
		if given, ok := m.args[name]; ok {
			value = given
		}
		command.Env = append(command.Env, name+"="+value)
	}
	if out, err := command.CombinedOutput(); err != nil {
		return fmt.Errorf("%s: %w\n%s", step.run, err, out)
	}
	return nil
}

// copy copies files, or what is in directories, as COPY does.
func (m *machine) copy(step step, dir string) error {
	c := step.copy
	to := c.to
	if !path.IsAbs(to) {
		to = path.Join(step.dir, to)
		if strings.HasSuffix(c.to, "/") || c.to == "." {
			to += "/"
		}
	}
	for _, source := range c.sources {
		if c.from == "" {
			if err := m.copyContext(source, filepath.Join(dir, to), strings.HasSuffix(to, "/"), c); err != nil {
				return err
			}
			continue
		}
		from := filepath.Join(m.done[c.from], source)
		if _, err := os.Stat(from); errors.Is(err, fs.ErrNotExist) && source == roots {
			from = source // the image of Go has it, and so does this machine
		}
		if err := copyTree(from, filepath.Join(dir, to), strings.HasSuffix(source, "/") || !strings.HasSuffix(to, "/"), c); err != nil {
			return err
		}
	}
	return nil
}

const roots = "/etc/ssl/certs/ca-certificates.crt"

func (m *machine) copyContext(source, to string, intoDir bool, c *copyStep) error {
	found := false
	for _, file := range m.context {
		target := to
		switch below, under := strings.CutPrefix(file, path.Clean(source)+"/"); {
		case source == ".":
			target = filepath.Join(to, file)
		case under:
			target = filepath.Join(to, below)
		case file == source && intoDir:
			target = filepath.Join(to, path.Base(file))
		case file != source:
			continue
		}
		found = true
		if err := copyFile(filepath.Join(root, file), target, c); err != nil {
			return err
		}
	}
	if !found {
		return fmt.Errorf("%s is not in the context: .dockerignore", source)
	}
	return nil
}

// copyTree copies a directory's contents, or a file, to a path.
func copyTree(from, to string, exactly bool, c *copyStep) error {
	info, err := os.Stat(from)
	if err != nil {
		return err
	}
	if !info.IsDir() {
		if !exactly {
			to = filepath.Join(to, filepath.Base(from))
		}
		return copyFile(from, to, c)
	}
	return filepath.WalkDir(from, func(file string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		target := filepath.Join(to, strings.TrimPrefix(file, from))
		if entry.IsDir() {
			return makeDir(target, c)
		}
		return copyFile(file, target, c)
	})
}

// makeDir makes a directory that the step's owner has. What is there stays.
func makeDir(dir string, c *copyStep) error {
	if _, err := os.Stat(dir); err == nil {
		return nil
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	return c.own(dir)
}

func copyFile(from, to string, c *copyStep) error {
	info, err := os.Stat(from)
	if err != nil {
		return err
	}
	text, err := os.ReadFile(from)
	if err != nil {
		return err
	}
	mode := info.Mode().Perm()
	if c.chmod != "" {
		bits, err := strconv.ParseUint(c.chmod, 8, 9)
		if err != nil {
			return err
		}
		mode = fs.FileMode(bits)
	}
	if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
		return err
	}
	if err := errors.Join(os.WriteFile(to, text, mode), os.Chmod(to, mode)); err != nil {
		return err
	}
	return c.own(to)
}

// own gives a file to whom the step names. Only root may.
func (c *copyStep) own(file string) error {
	if c.owner == "" || os.Getuid() != 0 {
		return nil
	}
	var uid, gid int
	if _, err := fmt.Sscanf(c.owner, "%d:%d", &uid, &gid); err != nil {
		return fmt.Errorf("the owner %s: %w", c.owner, err)
	}
	return os.Lchown(file, uid, gid)
}

// contextFiles lists what .dockerignore lets into the context.
func contextFiles() (files []string, err error) {
	text, err := os.ReadFile(filepath.Join(root, ".dockerignore"))
	if err != nil {
		return nil, err
	}
	ignored := ignoreRules(string(text))
	err = filepath.WalkDir(root, func(file string, entry fs.DirEntry, err error) error {
		name, _ := filepath.Rel(root, file)
		switch {
		case err != nil:
			return err
		case entry.IsDir() && (name == ".git" || name == ".data" || name == "bin"):
			return filepath.SkipDir
		case !entry.IsDir() && !ignored(name):
			files = append(files, name)
		}
		return nil
	})
	return files, err
}

// ignoreRules reads a .dockerignore: the last line that fits a path, or a directory
// above it, decides.
func ignoreRules(text string) func(name string) bool {
	type rule struct {
		fits *regexp.Regexp
		keep bool
	}
	var rules []rule
	for _, line := range logicalLines(text) {
		pattern, keep := strings.CutPrefix(line, "!")
		pattern = regexp.QuoteMeta(pattern)
		pattern = strings.ReplaceAll(pattern, `\*\*/`, `(?:.*/)?`)
		pattern = strings.ReplaceAll(pattern, `\*`, `[^/]*`)
		rules = append(rules, rule{regexp.MustCompile(`^` + pattern + `(?:/|$)`), keep})
	}
	return func(name string) bool {
		ignored := false
		for _, r := range rules {
			if r.fits.MatchString(name) {
				ignored = !r.keep
			}
		}
		return ignored
	}
}

// listing describes every file of a directory, but for its times: path, mode, owner,
// size and content.
func listing(dir string) (lines []string, err error) {
	err = filepath.WalkDir(dir, func(file string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := entry.Info()
		if err != nil {
			return err
		}
		sum := ""
		if info.Mode().IsRegular() {
			text, err := os.ReadFile(file)
			if err != nil {
				return err
			}
			sum = fmt.Sprintf(" %x", sha256.Sum256(text))
		}
		lines = append(lines, fmt.Sprintf("/%s %v %s%s", strings.TrimPrefix(strings.TrimPrefix(file, dir), "/"), info.Mode(), ownerOf(info), sum))
		return nil
	})
	slices.Sort(lines)
	return lines, err
}

func (all images) get(t *testing.T, name string) image {
	t.Helper()
	found, ok := all[name]
	if !ok {
		t.Fatalf("the Dockerfile has no stage %s", name)
	}
	return found
}

func built(t *testing.T, of func() (images, error)) images {
	t.Helper()
	if testing.Short() {
		t.Skip("builds the images")
	}
	made, err := of()
	if err != nil {
		t.Fatal(err)
	}
	return made
}
