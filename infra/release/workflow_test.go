package release

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// TestTheWorkflow holds what actionlint does not look at: actions are pinned, the
// rights are small, and the targets exist.
func TestTheWorkflow(t *testing.T) {
	t.Parallel()
	makefile, err := os.ReadFile(filepath.Join(root, "Makefile"))
	if err != nil {
		t.Fatal(err)
	}
	files, err := filepath.Glob(filepath.Join(root, ".github", "workflows", "*.yml"))
	if err != nil || len(files) == 0 {
		t.Fatal(files, err)
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		workflow := string(text)
		for _, used := range regexp.MustCompile(`uses: .*`).FindAllString(workflow, -1) {
			if !regexp.MustCompile(`^uses: [\w-]+/[\w-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+$`).MatchString(used) {
				t.Errorf("%s: %q is not pinned by commit, with its version beside it", file, used)
			}
		}
		if !strings.Contains(workflow, "\npermissions:\n  contents: read\n") || strings.Contains(workflow, "write") || strings.Contains(workflow, "pull_request_target") {
			t.Errorf("%s has more rights than to read", file)
		}
		if jobs, bounds := strings.Count(workflow, "runs-on:"), strings.Count(workflow, "timeout-minutes:"); jobs != bounds {
			t.Errorf("%s has %d jobs and %d bounds of time", file, jobs, bounds)
		}
		for _, match := range regexp.MustCompile(`\bmake "?([a-z][a-zA-Z-]+)`).FindAllStringSubmatch(workflow, -1) {
			if name := match[1]; name != "build-" && !regexp.MustCompile(`(?m)^(?:\S+ )*`+name+`(?: \S+)*:`).Match(makefile) {
				t.Errorf("%s calls make %s, which the Makefile does not have", file, name)
			}
		}
		for _, name := range functions {
			if !strings.Contains(workflow, name) {
				t.Errorf("%s does not build %s", file, name)
			}
		}
	}
}
