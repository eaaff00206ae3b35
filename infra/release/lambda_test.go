package release

import (
	"bytes"
	"debug/elf"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// functions are the Lambda functions' logical ids in the template.
var functions = []string{"ApiFunction", "SweepFunction", "MigrateFunction", "AdminFunction"}

// maxBootstrap is what a function's program may have, in bytes: it is read at every
// cold start.
const maxBootstrap = 15_000_000

// TestFunctionsAreBuilt calls the targets as sam does.
func TestFunctionsAreBuilt(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("builds the functions")
	}
	want, err := os.ReadFile(filepath.Join(root, "infra", "aws", "rds.pem"))
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range functions {
		dir := filepath.Join(t.TempDir(), "artifacts")
		if out, err := target(t, "build-"+name, "ARTIFACTS_DIR="+dir, "VERSION="+stamped).CombinedOutput(); err != nil {
			t.Fatalf("build-%s: %v\n%s", name, err, out)
		}
		bootstrap := filepath.Join(dir, "bootstrap")
		if size := checkStatic(t, bootstrap, elf.EM_AARCH64); size > maxBootstrap {
			t.Errorf("%s has %d bytes, more than %d", name, size, maxBootstrap)
		} else {
			t.Logf("%s: %.2f MB", name, float64(size)/1e6)
		}
		if got, err := os.ReadFile(filepath.Join(dir, "rds.pem")); err != nil || !bytes.Equal(got, want) {
			t.Errorf("%s lacks AWS's certificates: %v", name, err)
		}
		if text, err := os.ReadFile(bootstrap); err != nil || !bytes.Contains(text, []byte(stamped)) {
			t.Errorf("%s does not know its version: %v", name, err)
		}
		if files, err := os.ReadDir(dir); err != nil || len(files) != 2 {
			t.Errorf("%s: %v, %v", name, files, err)
		}
	}
	if out, err := target(t, "build-ApiFunction", "ARTIFACTS_DIR=").CombinedOutput(); err == nil || !strings.Contains(string(out), "ARTIFACTS_DIR") {
		t.Errorf("without a place to build to: %v\n%s", err, out)
	}
}

// target is a make target, in an environment without what make gave to this test.
func target(t *testing.T, args ...string) *exec.Cmd {
	t.Helper()
	command := exec.CommandContext(t.Context(), "make", append([]string{"--no-print-directory"}, args...)...)
	command.Dir = root
	command.Env = environment()
	return command
}

func environment() (kept []string) {
	for _, line := range os.Environ() {
		if name, _, _ := strings.Cut(line, "="); name != "MAKEFLAGS" && name != "MFLAGS" && name != "MAKELEVEL" && name != "MAKEOVERRIDES" && name != "VERSION" {
			kept = append(kept, line)
		}
	}
	return kept
}

// TestWhatIsMissingIsNamed: where a program is not installed, or nobody is logged
// in, the targets say what to do, and do nothing. The programs here answer as little
// as the targets need.
func TestWhatIsMissingIsNamed(t *testing.T) {
	t.Parallel()
	const image = "IMAGE=1.dkr.ecr.eu-west-1.amazonaws.com/c"
	sam := map[string]string{"sam": `echo "sam $*"`}
	account := map[string]string{"sam": sam["sam"], "aws": `echo arn:aws:iam::1:user/u`}
	full := map[string]string{"sam": sam["sam"], "aws": account["aws"], "docker": `echo "docker $*" >&2; case "$*" in *Digest*) echo sha256:12ab ;; *) echo linux/arm64 ;; esac`}
	for _, test := range []struct {
		name      string
		programs  map[string]string
		args      []string
		ok        bool
		says, not string
	}{
		{"no sam", nil, []string{"deploy", image}, false, "sam is missing. Install", ""},
		{"no aws", sam, []string{"deploy", image}, false, "aws is missing. Install", ""},
		{"no account", map[string]string{"sam": sam["sam"], "aws": "exit 1"}, []string{"package"}, false, "AWS does not know you", "sam build"},
		{"no docker", account, []string{"deploy", image}, false, "docker is missing. Install", "sam deploy"},
		{"no image named", full, []string{"deploy"}, false, "say where the image is", "sam deploy"},
		{"dirty", full, []string{"deploy", image, "VERSION=v1-dirty"}, false, "commit first", "sam deploy"},
		{"no image", map[string]string{"sam": sam["sam"], "aws": account["aws"], "docker": "exit 1"}, []string{"deploy", image}, false, "make image-push", "sam deploy"},
		{"all", full, []string{"deploy", image, "PARAMETERS=Size=small"}, true, "--parameter-overrides Version=v1 Image=1.dkr.ecr.eu-west-1.amazonaws.com/c@sha256:12ab Size=small --no-confirm-changeset", ""},
		{"look first", full, []string{"deploy-check", image}, true, "--no-execute-changeset", ""},
		{"package", account, []string{"package"}, true, "sam package --resolve-s3", ""},
		{"logs", account, []string{"logs", "STACK=mine"}, true, "sam logs --stack-name mine", ""},
		{"destroy, and a wrong name", account, []string{"destroy", "STACK=mine"}, false, "nothing is deleted", "sam delete"},
		{"image without docker", nil, []string{"image"}, false, "docker is missing. Install", ""},
		{"push without a registry", full, []string{"image-push"}, false, "say where the image is", "docker buildx"},
		{"push", full, []string{"image-push", image}, true, "--target connector --tag 1.dkr.ecr.eu-west-1.amazonaws.com/c:v1 --output type=registry", ""},
		{"roots without npm", nil, []string{"rds-ca"}, false, "npm is missing. Install", ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			command := target(t, append([]string{"VERSION=v1"}, test.args...)...)
			command.Env = []string{"PATH=" + pathWith(t, test.programs), "HOME=" + t.TempDir()}
			command.Stdin = strings.NewReader("wrong\n")
			out, err := command.CombinedOutput()
			if (err == nil) != test.ok || !strings.Contains(string(out), test.says) || test.not != "" && strings.Contains(string(out), test.not) {
				t.Errorf("make %v: %v, want %q and not %q:\n%s", test.args, err, test.says, test.not, out)
			}
		})
	}
}

// pathWith is a PATH with the system's tools but those that the targets look for,
// and with scripts by name.
func pathWith(t *testing.T, scripts map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for _, name := range []string{"sh", "make", "git", "cat", "grep", "mkdir", "mktemp", "rm", "sed", "awk", "basename", "tar", "mv"} {
		file, err := exec.LookPath(name)
		if err == nil {
			err = os.Symlink(file, filepath.Join(dir, name))
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	for name, script := range scripts {
		if err := os.WriteFile(filepath.Join(dir, name), []byte("#!/bin/sh\n"+script+"\n"), 0o700); err != nil { // #nosec G306 -- a program
			t.Fatal(err)
		}
	}
	return dir
}
