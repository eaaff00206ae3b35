package house

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/wafleet/wafleet/shared/session"
)

// TestTheReadmeNamesWhatTheCodeKnows compares tables of the README with the
// code: reasons, error codes, and the environment of every program.
func TestTheReadmeNamesWhatTheCodeKnows(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile(filepath.Join(root(t), "README.md"))
	if err != nil {
		t.Fatal(err)
	}
	readme := string(text)
	for _, code := range session.ReasonCodes() {
		if !strings.Contains(readme, "`"+string(code)+"`") {
			t.Errorf("the README does not explain the reason %s", code)
		}
	}
	problems, err := os.ReadFile(filepath.Join(root(t), "functions", "httpapi", "problem.go"))
	if err != nil {
		t.Fatal(err)
	}
	codes := regexp.MustCompile(`Code = "([A-Z_]+)"`).FindAllStringSubmatch(string(problems), -1)
	if len(codes) < 20 {
		t.Errorf("only %d error codes are found", len(codes))
	}
	for _, code := range codes {
		if !strings.Contains(readme, "`"+code[1]+"`") {
			t.Errorf("the README does not explain the error code %s", code[1])
		}
	}
	variable := regexp.MustCompile(`env:"([A-Z0-9_]+)`)
	for _, p := range list(t, "./functions/...", "./connector/...", "./infra/...", "./shared/settings") {
		for _, file := range p.GoFiles {
			source, err := os.ReadFile(filepath.Join(p.Dir, file))
			if err != nil {
				t.Fatal(err)
			}
			for _, match := range variable.FindAllStringSubmatch(string(source), -1) {
				if !strings.Contains(readme, "`"+match[1]+"`") && !strings.Contains(readme, "`"+match[1]+"=") {
					t.Errorf("the README does not explain %s of %s", match[1], p.path())
				}
			}
		}
	}
}

// TestTheReadmesTargetsExist: every make target that the README names is in the
// Makefile.
func TestTheReadmesTargetsExist(t *testing.T) {
	t.Parallel()
	makefile, err := os.ReadFile(filepath.Join(root(t), "Makefile"))
	if err != nil {
		t.Fatal(err)
	}
	for _, page := range []string{"README.md", "CONTRIBUTING.md"} {
		text, err := os.ReadFile(filepath.Join(root(t), page))
		if err != nil {
			t.Fatal(err)
		}
		for _, match := range regexp.MustCompile("(?m)(?:^    |`)make ([a-z0-9-]+)").FindAllStringSubmatch(string(text), -1) {
			if !regexp.MustCompile(`(?m)^` + match[1] + `:`).Match(makefile) {
				t.Errorf("%s names make %s, which the Makefile does not have", page, match[1])
			}
		}
	}
}
