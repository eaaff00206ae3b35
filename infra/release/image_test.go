package release

import (
	"bytes"
	"debug/elf"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
)

// programs of each image, and the size that they must stay below, in bytes.
var programs = map[string]map[string]int64{
	"connector": {"connector": 45 << 20, "guard": 15 << 20},
	"control":   {"api": 25 << 20, "sweep": 20 << 20, "migrate": 20 << 20, "wafleet": 25 << 20},
}

var machines = map[string]elf.Machine{"amd64": elf.EM_X86_64, "arm64": elf.EM_AARCH64}

func TestTheImagesHoldStaticPrograms(t *testing.T) {
	t.Parallel()
	for arch, of := range map[string]func() (images, error){"amd64": amd64, "arm64": arm64} {
		t.Run(arch, func(t *testing.T) {
			t.Parallel()
			all := built(t, of)
			for name, inside := range programs {
				i := all.get(t, name)
				var sum int64
				for program, limit := range inside {
					file := filepath.Join(i.dir, program)
					size := checkStatic(t, file, machines[arch])
					if sum += size; size > limit {
						t.Errorf("%s has %d bytes, more than %d", program, size, limit)
					}
					if text, err := os.ReadFile(file); program != "guard" && (err != nil || !bytes.Contains(text, []byte(stamped))) {
						t.Errorf("%s does not know its version", program)
					}
				}
				t.Logf("%s, %s: %.1f MB of programs", name, arch, float64(sum)/1e6)
			}
		})
	}
}

// checkStatic looks for everything that a program would need beside itself.
func checkStatic(t *testing.T, file string, want elf.Machine) (size int64) {
	t.Helper()
	program, err := elf.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	defer program.Close()
	if program.Machine != want {
		t.Errorf("%s is for %v, want %v", file, program.Machine, want)
	}
	for _, segment := range program.Progs {
		if segment.Type == elf.PT_INTERP || segment.Type == elf.PT_DYNAMIC {
			t.Errorf("%s is not static: it has %v", file, segment.Type)
		}
	}
	info, err := os.Stat(file)
	if err != nil {
		t.Fatal(err)
	}
	if info.Mode().Perm() != 0o755 {
		t.Errorf("%s has mode %v", file, info.Mode())
	}
	return info.Size()
}

func TestTheImagesAreTheSameEachTime(t *testing.T) {
	t.Parallel()
	first := built(t, native)
	second := built(t, func() (images, error) { return assemble(filepath.Join(workshop, "again"), runtime.GOARCH) })
	for name := range programs {
		one, err1 := listing(first.get(t, name).dir)
		other, err2 := listing(second.get(t, name).dir)
		if err1 != nil || err2 != nil {
			t.Fatal(err1, err2)
		}
		if !slices.Equal(one, other) {
			t.Errorf("%s differs:\n%s\n\n%s", name, strings.Join(one, "\n"), strings.Join(other, "\n"))
		}
	}
}

// TestNothingElseIsInTheImages: every file but licences, with its mode and owner.
func TestNothingElseIsInTheImages(t *testing.T) {
	t.Parallel()
	want := map[string][]string{
		"connector": {
			"/ d 0:0", "/app d 0:0", "/app/data d 65532:65532", "/connector x 0:0", "/etc d 0:0", "/etc/ssl d 0:0", "/etc/ssl/certs d 0:0",
			"/etc/ssl/certs/ca-certificates.crt - 0:0", "/etc/ssl/rds.pem - 0:0", "/guard x 0:0",
		},
		"control": {
			"/ d 0:0", "/api x 0:0", "/etc d 0:0", "/etc/ssl d 0:0", "/etc/ssl/certs d 0:0",
			"/etc/ssl/certs/ca-certificates.crt - 0:0", "/etc/ssl/rds.pem - 0:0", "/keys d 65532:65532", "/migrate x 0:0", "/sweep x 0:0", "/wafleet x 0:0",
		},
	}
	all := built(t, native)
	for name, want := range want {
		lines, err := listing(all.get(t, name).dir)
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, line := range lines {
			if fields := strings.Fields(line); !strings.HasPrefix(line, "/licences") {
				kinds := map[string]string{"drwxr-xr-x": "d", "-rwxr-xr-x": "x", "-rw-r--r--": "-"}
				owner := fields[2]
				if os.Getuid() != 0 {
					owner = "0:0" // nobody else can give a file away
				}
				got = append(got, fmt.Sprintf("%s %s %s", fields[0], kinds[fields[1]], owner))
			}
		}
		if os.Getuid() != 0 {
			for i := range want {
				want[i] = strings.ReplaceAll(want[i], "65532:65532", "0:0")
			}
		}
		if !slices.Equal(got, want) {
			t.Errorf("%s holds\n%s\nwant\n%s", name, strings.Join(got, "\n"), strings.Join(want, "\n"))
		}
	}
}

func TestTheImagesSayWhatTheyAre(t *testing.T) {
	t.Parallel()
	all := built(t, native)
	for name, licence := range map[string]string{"connector": "GPL-3.0-only", "control": "Apache-2.0"} {
		i := all.get(t, name)
		for label, want := range map[string]string{"licenses": licence, "version": stamped, "revision": "0123abcd"} {
			if got := i.labels["org.opencontainers.image."+label]; got != want {
				t.Errorf("%s: %s is %q, want %q", name, label, got, want)
			}
		}
		if i.user != "65532:65532" || i.stopSignal != "SIGTERM" {
			t.Errorf("%s: user %q, stop signal %q", name, i.user, i.stopSignal)
		}
		checkLicences(t, name, filepath.Join(i.dir, "licences"))
	}
	if i := all.get(t, "connector"); fmt.Sprint(i.entrypoint, i.health, i.cmd) != "[/guard /connector] [/connector healthcheck] []" {
		t.Errorf("the connector runs %q %q, its health is %q", i.entrypoint, i.cmd, i.health)
	}
}

// checkLicences: the GPL is where libsignal is, and nowhere else.
func checkLicences(t *testing.T, name, dir string) {
	t.Helper()
	modules, err := os.ReadFile(filepath.Join(dir, "MODULES"))
	if err != nil {
		t.Fatal(err)
	}
	for module, want := range map[string]bool{"github.com/wafleet/wafleet": true, "github.com/lib/pq": true, "go.mau.fi/whatsmeow": name == "connector", "go.mau.fi/libsignal": name == "connector"} {
		texts, err := filepath.Glob(filepath.Join(dir, filepath.FromSlash(module), "LICENSE*"))
		if got := len(texts) > 0 && strings.Contains(string(modules), module); got != want || err != nil {
			t.Errorf("%s: the licence of %s is there: %v, want %v (%v)", name, module, got, want, err)
		}
	}
}

// TestTheBuildersGoIsNewEnough: with GOTOOLCHAIN=local nothing else would do.
func TestTheBuildersGoIsNewEnough(t *testing.T) {
	t.Parallel()
	module, err := os.ReadFile(filepath.Join(root, "go.mod"))
	if err != nil {
		t.Fatal(err)
	}
	_, needed, _ := strings.Cut(string(module), "\ngo ")
	needed, _, _ = strings.Cut(needed, "\n")
	text, err := os.ReadFile(filepath.Join(root, "connector", "Dockerfile"))
	if err != nil {
		t.Fatal(err)
	}
	d, err := readDockerfile(string(text))
	if err != nil {
		t.Fatal(err)
	}
	_, has, _ := strings.Cut(d.stage("build").base, ":")
	has, _, _ = strings.Cut(has, "-")
	if compareVersions(has, needed) < 0 || d.stage("build").platform != "$BUILDPLATFORM" {
		t.Errorf("the image is built with Go %s on %s; go.mod needs %s", has, d.stage("build").platform, needed)
	}
}

// compareVersions compares numbers with dots.
func compareVersions(a, b string) int {
	number := func(version string) (n int) {
		for i, part := range strings.SplitN(version+".0.0", ".", 4)[:3] {
			var digits int
			_, _ = fmt.Sscan(part, &digits)
			n += digits * [3]int{1e6, 1e3, 1}[i]
		}
		return n
	}
	return number(a) - number(b)
}
