package release

import (
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// dockerfile is what the reader understands of one.
type dockerfile struct {
	args   map[string]string // before the first FROM
	stages []*stage
}

// stage is one FROM and what follows it.
type stage struct {
	name, base, platform string
	steps                []step // COPY and RUN, in order
	settings
}

// settings are what ends up in an image's configuration.
type settings struct {
	env, args, labels map[string]string
	workdir, user     string
	entrypoint, cmd   []string
	health            []string
	stopSignal        string
}

// step changes files: exactly one of the two is set.
type step struct {
	run  string // for sh -c
	copy *copyStep
	env  map[string]string // ENV and ARG so far, with the defaults
	dir  string            // WORKDIR so far
}

type copyStep struct {
	from         string // stage; empty: the context
	owner, chmod string
	sources      []string
	to           string
}

// readDockerfile reads the text of one. Whatever it does not know is an error: what
// it would skip, an engine would do.
func readDockerfile(text string) (*dockerfile, error) {
	d := &dockerfile{args: map[string]string{}}
	for _, line := range logicalLines(text) {
		word, rest, _ := strings.Cut(line, " ")
		if err := d.instruction(word, strings.TrimSpace(rest)); err != nil {
			return nil, fmt.Errorf("%s: %w", line, err)
		}
	}
	return d, nil
}

// logicalLines joins continued lines and drops comments and empty lines.
func logicalLines(text string) (lines []string) {
	open := false
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		more := strings.HasSuffix(line, `\`)
		line = strings.TrimSpace(strings.TrimSuffix(line, `\`))
		if open {
			lines[len(lines)-1] += " " + line
		} else {
			lines = append(lines, line)
		}
		open = more
	}
	return lines
}

func (d *dockerfile) instruction(word, rest string) error {
	if word == "FROM" {
		return d.from(rest)
	}
	if len(d.stages) == 0 {
		if word == "ARG" {
			return assign(d.args, rest)
		}
		return fmt.Errorf("before the first FROM")
	}
	s := d.stages[len(d.stages)-1]
	switch word {
	case "ARG":
		return assign(s.args, rest)
	case "ENV":
		return assign(s.env, rest)
	case "LABEL":
		return assign(s.labels, rest)
	case "WORKDIR":
		s.workdir = rest
	case "USER":
		s.user = rest
	case "STOPSIGNAL":
		s.stopSignal = rest
	case "ENTRYPOINT":
		return json.Unmarshal([]byte(rest), &s.entrypoint)
	case "CMD":
		return json.Unmarshal([]byte(rest), &s.cmd)
	case "HEALTHCHECK":
		_, command, found := strings.Cut(rest, " CMD ")
		if !found {
			return fmt.Errorf("no command")
		}
		return json.Unmarshal([]byte(command), &s.health)
	case "RUN":
		return s.run(rest)
	case "COPY":
		return s.copy(rest)
	default:
		return fmt.Errorf("an instruction that the reader does not know")
	}
	return nil
}

func (d *dockerfile) from(rest string) error {
	match := regexp.MustCompile(`^(?:--platform=(\S+) )?(\S+) AS (\S+)$`).FindStringSubmatch(rest)
	if match == nil {
		return fmt.Errorf("not in the form [--platform=P] IMAGE AS NAME")
	}
	base := os.Expand(match[2], func(name string) string { return d.args[name] })
	d.stages = append(d.stages, &stage{
		name: match[3], base: base, platform: match[1],
		settings: settings{env: map[string]string{}, args: map[string]string{}, labels: map[string]string{}, workdir: "/"},
	})
	return nil
}

// assignment is NAME, NAME=value or NAME="value with spaces".
var assignment = regexp.MustCompile(`([A-Za-z_.][A-Za-z0-9_.]*)(?:=("[^"]*"|[^\s"]*))?(?:\s+|$)`)

func assign(into map[string]string, rest string) error {
	if left := assignment.ReplaceAllString(rest, ""); left != "" {
		return fmt.Errorf("%q is not understood", left)
	}
	for _, match := range assignment.FindAllStringSubmatch(rest, -1) {
		into[match[1]] = strings.Trim(match[2], `"`)
	}
	return nil
}

// run leaves out caches: they change how long a step takes, and nothing else.
func (s *stage) run(rest string) error {
	rest = regexp.MustCompile(`--mount=type=cache,target=\S+ `).ReplaceAllString(rest, "")
	if strings.HasPrefix(rest, "--") || strings.HasPrefix(rest, "[") {
		return fmt.Errorf("not in the form RUN [--mount=type=cache,target=T] COMMAND")
	}
	s.steps = append(s.steps, step{run: rest, env: s.environment(), dir: s.workdir})
	return nil
}

func (s *stage) copy(rest string) error {
	c := &copyStep{}
	words := strings.Fields(rest)
	for strings.HasPrefix(words[0], "--") {
		name, value, _ := strings.Cut(words[0], "=")
		switch name {
		case "--from":
			c.from = value
		case "--chown":
			c.owner = value
		case "--chmod":
			c.chmod = value
		default:
			return fmt.Errorf("%s is not known", name)
		}
		words = words[1:]
	}
	if len(words) < 2 || strings.ContainsAny(rest, `*?["$`) {
		return fmt.Errorf("not in the form COPY [--from=S] [--chown=O] [--chmod=M] SOURCE... TO")
	}
	c.sources, c.to = words[:len(words)-1], words[len(words)-1]
	s.steps = append(s.steps, step{copy: c, env: s.environment(), dir: s.workdir})
	return nil
}

func (s *stage) environment() map[string]string {
	all := maps.Clone(s.args)
	maps.Copy(all, s.env)
	return all
}

func (d *dockerfile) stage(name string) *stage {
	at := slices.IndexFunc(d.stages, func(s *stage) bool { return s.name == name })
	if at < 0 {
		return nil
	}
	return d.stages[at]
}

func TestTheReaderRefusesWhatItDoesNotKnow(t *testing.T) {
	t.Parallel()
	for _, text := range []string{
		"RUN x", "FROM scratch", "FROM scratch AS a\nADD x /", "FROM scratch AS a\nCOPY --link x /", "FROM scratch AS a\nCOPY *.go /",
		"FROM scratch AS a\nCOPY x", "FROM scratch AS a\nRUN --network=none x", "FROM scratch AS a\nRUN [\"x\"]", "FROM scratch AS a\nSHELL [\"x\"]",
		"FROM scratch AS a\nENTRYPOINT /guard", "FROM scratch AS a\nHEALTHCHECK NONE", "FROM scratch AS a\nLABEL a=\"b",
	} {
		if _, err := readDockerfile(text); err == nil {
			t.Errorf("%q is read", text)
		}
	}
	d, err := readDockerfile("# c\nARG V=1\nFROM --platform=$B x:${V} AS a\nENV A=1 B=\"2 3\"\nARG C\nRUN --mount=type=cache,target=/c one && \\\n  # c\n  two\n")
	if err != nil {
		t.Fatal(err)
	}
	a := d.stage("a")
	if a.base != "x:1" || len(a.steps) != 1 || a.steps[0].run != "one && two" || a.steps[0].env["B"] != "2 3" || a.steps[0].env["C"] != "" {
		t.Errorf("%+v", a)
	}
}
