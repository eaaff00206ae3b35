//go:build linux

package release

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/wafleet/wafleet/shared/e2e/deployment"
	"github.com/wafleet/wafleet/shared/pgtest"
	"github.com/wafleet/wafleet/shared/wasim"
)

// project is a compose file as Docker's own reader understands it.
type project struct {
	Services map[string]service
	Volumes  map[string]any
}

type service struct {
	Image               string
	Build               *struct{ Context, Dockerfile, Target string }
	Entrypoint, Command []string
	Environment         map[string]string
	User, Restart       string
	ReadOnly            bool     `json:"read_only"`
	CapDrop             []string `json:"cap_drop"`
	SecurityOpt         []string `json:"security_opt"`
	Privileged          bool
	NetworkMode         string `json:"network_mode"`
	StopGracePeriod     string `json:"stop_grace_period"`
	Healthcheck         *struct{ Test []string }
	DependsOn           map[string]struct{ Condition string } `json:"depends_on"`
	Deploy              struct{ Replicas int }
	Ports               []struct {
		HostIP    string `json:"host_ip"`
		Target    int
		Published string
	}
	Volumes []struct {
		Type, Source, Target string
		ReadOnly             bool `json:"read_only"`
	}
}

// password is as the file's head says: 48 hex digits.
const password = "0123456789abcdef0123456789abcdef0123456789abcdef"

const composeFile = root + "/infra/local/compose.yaml"

// readCompose reads the file with the library of Docker's compose command, which is
// strict about words that the specification does not have.
func readCompose(t *testing.T, env ...string) (p project, problem string) {
	t.Helper()
	file, err := filepath.Abs(composeFile)
	if err != nil {
		t.Fatal(err)
	}
	var problems strings.Builder
	command := exec.CommandContext(t.Context(), "go", "run", "./compose", file)
	command.Dir = filepath.Join(root, "infra", "tools")
	command.Stderr = &problems
	command.Env = append(slices.DeleteFunc(environment(), func(line string) bool { return strings.HasPrefix(line, "POSTGRES_") }), append(env, "GOFLAGS=")...)
	out, err := command.Output()
	if err != nil {
		return p, problems.String()
	}
	if err := json.Unmarshal(out, &p); err != nil {
		t.Fatal(err)
	}
	return p, ""
}

func TestComposeIsLockedDown(t *testing.T) {
	t.Parallel()
	if _, problem := readCompose(t); !strings.Contains(problem, "POSTGRES_PASSWORD") || !strings.Contains(problem, ".env") {
		t.Errorf("without a password: %s", problem)
	}
	p, problem := readCompose(t, "POSTGRES_PASSWORD="+password)
	if problem != "" {
		t.Fatal(problem)
	}
	readme, err := os.ReadFile(filepath.Join(root, "README.md"))
	if err != nil {
		t.Fatal(err)
	}
	for name, s := range p.Services {
		if s.Privileged || s.NetworkMode != "" || !slices.Contains(s.SecurityOpt, "no-new-privileges:true") || s.Restart == "" {
			t.Errorf("%s: privileged %v, network %q, %v, restart %q", name, s.Privileged, s.NetworkMode, s.SecurityOpt, s.Restart)
		}
		for _, v := range s.Volumes {
			if v.Type != "volume" {
				t.Errorf("%s sees %s of the machine", name, v.Source)
			}
		}
		if len(s.Ports) > 0 && (name != "api" || len(s.Ports) != 1 || s.Ports[0].HostIP != "127.0.0.1") {
			t.Errorf("%s is open to %+v", name, s.Ports)
		}
		if name == "postgres" {
			if !regexp.MustCompile(`^postgres:\d+\.\d+-\w+$`).MatchString(s.Image) || s.Environment["POSTGRES_PASSWORD"] != password || s.Healthcheck == nil {
				t.Errorf("%s is %s", name, s.Image)
			}
			continue
		}
		if !s.ReadOnly || s.User != "65532:65532" || !slices.Equal(s.CapDrop, []string{"ALL"}) {
			t.Errorf("%s: read-only %v, user %q, without %v", name, s.ReadOnly, s.User, s.CapDrop)
		}
		if target := map[bool]string{true: "connector", false: "control"}[name == "connector"]; s.Build == nil || s.Build.Target != target || s.Build.Dockerfile != "connector/Dockerfile" || !strings.HasPrefix(s.Image, "wafleet-"+target+":") {
			t.Errorf("%s is built as %+v, named %s", name, s.Build, s.Image)
		}
		for variable := range s.Environment {
			if !strings.Contains(string(readme), "`"+variable+"`") && !strings.Contains(string(readme), "`"+variable+"=") {
				t.Errorf("%s has %s, which the README does not explain", name, variable)
			}
		}
	}
	c := p.Services["connector"]
	if c.StopGracePeriod != "2m0s" || c.Deploy.Replicas != 2 || c.Healthcheck == nil || strings.Join(c.Healthcheck.Test, " ") != "CMD /connector healthcheck" {
		t.Errorf("the connector: %+v", c)
	}
	for later, earlier := range map[string]string{
		"migrate": "postgres service_healthy", "connector": "migrate service_completed_successfully", "api": "connector service_healthy", "sweep": "migrate service_completed_successfully",
	} {
		before, condition, _ := strings.Cut(earlier, " ")
		if got := p.Services[later].DependsOn[before].Condition; got != condition {
			t.Errorf("%s starts when %s is %q, want %q", later, before, got, condition)
		}
	}
}

// composition runs the services of a project on this machine, each as the file says
// but for the address of the database, and of what listens.
type composition struct {
	*testing.T
	project
	images
	database string
	volumes  map[string]string
}

// container is a service's; env comes after the service's own, args replace its
// command.
func (c *composition) container(name string, env []string, args ...string) container {
	c.Helper()
	s := c.Services[name]
	if url := s.Environment["DATABASE_URL"]; url != "postgres://wafleet:"+password+"@postgres:5432/wafleet?sslmode=disable" {
		c.Errorf("%s has the database %s", name, url)
	}
	var all []string
	for variable, value := range s.Environment {
		if variable != "DATABASE_URL" {
			all = append(all, variable+"="+value)
		}
	}
	all = append(append(all, "DATABASE_URL="+c.database), env...)
	i := c.get(c.T, s.Build.Target)
	if len(s.Entrypoint) > 0 {
		i.entrypoint = s.Entrypoint
	}
	if args = append(slices.Clone(i.entrypoint), args...); len(args) == len(i.entrypoint) {
		args = append(args, s.Command...)
	}
	made := i.container(c, all, args...)
	for _, v := range s.Volumes {
		if c.volumes[v.Source] == "" {
			c.volumes[v.Source] = newVolume(c.T)
		}
		made = made.with(c, c.volumes[v.Source], v.Target)
	}
	return made
}

// TestComposeRuns does what the head of the file says, in the order of depends_on.
func TestComposeRuns(t *testing.T) {
	t.Parallel()
	needContainers(t)
	all := built(t, native)
	p, problem := readCompose(t, "POSTGRES_PASSWORD="+password)
	if problem != "" {
		t.Fatal(problem)
	}
	sim := &wasim.Server{FewPreKeys: true}
	if err := sim.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { sim.Close() })
	c := &composition{T: t, project: p, images: all, database: pgtest.New(t, nil), volumes: map[string]string{}}
	for range 2 { // an update runs them again
		for _, name := range []string{"migrate", "keys"} {
			if out, code := c.container(name, nil).once(t); code != 0 {
				t.Fatalf("%s: %d\n%s", name, code, out)
			}
		}
	}
	var connectors []*deployment.Program
	for range p.Services["connector"].Deploy.Replicas {
		listen := "LISTEN=" + freeAddress(t) // each container has an address of its own; here all have one
		made := c.container("connector", []string{
			listen, "WHATSAPP_DIAL_ADDR=" + sim.DialAddr(), "WHATSAPP_TLS_CA=/app/data/ca.pem", "WHATSAPP_NOISE_ROOT_KEY=" + sim.RootKeyHex(),
		})
		writeFile(t, filepath.Join(c.volumes["devices"], "ca.pem"), sim.CAPEM())
		one := deployment.Start(t, made.command(t))
		one.Await(`"msg":"connector registered"`)
		check := all.get(t, "connector").container(t, []string{listen}, p.Services["connector"].Healthcheck.Test[1:]...)
		if out, code := check.once(t); code != 0 {
			t.Errorf("a connector is not healthy: %d %s", code, out)
		}
		connectors = append(connectors, one)
	}
	command := slices.Clone(p.Services["api"].Command)
	if at := slices.Index(command, ":8080"); at < 0 || p.Services["api"].Ports[0].Target != 8080 {
		t.Fatalf("the API runs as %q", command)
	} else {
		command[at] = "127.0.0.1:0"
	}
	api := deployment.Start(t, c.container("api", nil, command...).command(t))
	client := deployment.API{TB: t, URL: "http://" + api.Await(`"msg":"listening","address":"([^"]+)"`)}
	client.Key = newKey(t, func(args ...string) container { return c.container("wafleet", nil, args...) })
	sweep := deployment.Start(t, c.container("sweep", nil).command(t))
	// The key file is there, and everybody can read it: a config with a secret is taken.
	client.Link("first", `{"webhooks":[{"url":"https://example.com/","events":["session.status"],"hmac":{"key":"a secret"}}]}`, func(code string) error {
		_, err := sim.Scan("5511999990001", code)
		return err
	})
	sweep.Await(`\{[^\n]*\}\n`)
	for _, p := range append(connectors, sweep, api) {
		if code := p.End(); code != 0 {
			t.Errorf("a program ends with %d", code)
		}
	}
}
