package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/wafleet/wafleet/shared/e2e/bootstrap"
	"github.com/wafleet/wafleet/shared/e2e/lambdarun"
	"github.com/wafleet/wafleet/shared/startqueue/fakesqs"
)

// stage is where a system is put up.
type stage string

const (
	// onHost: the API in this process, connectors as they are.
	onHost stage = ""
	// onAWS: as AWS would run it. The API, sweep and admin are the programs that
	// Lambda runs, behind a gateway, a schedule and the events of ECS; hints go
	// through SQS; every connector is a task of ECS, below its guard.
	onAWS stage = "aws"
	// onAWSWithoutSQS: the same, and SQS is out of order.
	onAWSWithoutSQS stage = "aws-without-sqs"
)

// theStage is where the tests run that do not care. By hand it is E2E_STAGE.
func theStage() stage { return stage(os.Getenv("E2E_STAGE")) }

// onHostOnly skips a test of what another stage does not have.
func onHostOnly(t testing.TB, why string) {
	t.Helper()
	if theStage() != onHost {
		t.Skip(why)
	}
}

// cloud is what AWS is around a system.
type cloud struct {
	*system
	sqs          *fakesqs.Server
	queue, dead  *fakesqs.Queue
	ecs          *ecs
	env          []string // of every program
	admin, sweep *function
	gateway      *lambdarun.Gateway

	telling sync.WaitGroup // events on their way to sweep
	mu      sync.Mutex
	logs    []*bootstrap.Output // guarded by mu
}

// concurrency is how many processes of the API there are at most. Each has two
// connections to Postgres.
const concurrency = 10

// functions are the Lambda programs, built once per test process.
var functions = sync.OnceValues(func() (map[string]string, error) {
	programs := map[string]string{}
	for _, name := range []string{"api", "sweep", "admin"} {
		var err error
		if programs[name], err = bootstrap.Function(binaries, name, runtime.GOARCH); err != nil {
			return nil, err
		}
	}
	return programs, nil
})

// newCloud puts the system up on AWS; it has no key yet.
func (s *system) newCloud() *cloud {
	s.Helper()
	if runtime.GOOS != "linux" {
		s.Skip("only Linux ends a connector whose guard is gone")
	}
	if s.stage != onAWS && s.stage != onAWSWithoutSQS {
		s.Fatalf("E2E_STAGE names no stage: %q", s.stage)
	}
	if _, err := functions(); err != nil { // now: no event waits for a build
		s.Fatal(err)
	}
	c := &cloud{system: s, sqs: fakesqs.New(), ecs: newECS(s.TB)}
	c.queue = c.sqs.Queue("starts", fakesqs.Settings{DeadLetters: "starts-dead", MaxReceives: 5})
	c.dead = c.sqs.Queue("starts-dead", fakesqs.Settings{})
	if s.stage == onAWSWithoutSQS {
		c.sqs.Breaks("", fakesqs.IsDown)
	}
	queue := httptest.NewServer(c.sqs)
	c.env = append(fakesqs.Environment(queue.URL), "QUEUE_URL="+fakesqs.URL(queue.URL, "starts"), "DATABASE_URL="+s.url)
	c.gateway = lambdarun.NewScalingGateway(concurrency, func(ctx context.Context) (*lambdarun.Runtime, error) {
		return c.start(ctx, "api", "SQLITE_AVAILABLE=true", "RATE_LIMIT_PER_SECOND=0", "LOG_LEVEL=DEBUG")
	})
	s.Cleanup(func() {
		queue.CloseClientConnections()
		queue.Close()
		c.checkLogs()
	})
	c.admin, c.sweep = c.function("admin"), c.function("sweep")
	s.Cleanup(c.telling.Wait)
	c.scheduled()
	return c
}

func (c *cloud) start(ctx context.Context, name string, env ...string) (*lambdarun.Runtime, error) {
	programs, err := functions()
	if err != nil {
		return nil, err
	}
	log := &bootstrap.Output{}
	c.mu.Lock()
	c.logs = append(c.logs, log)
	c.mu.Unlock()
	running, err := lambdarun.Start(ctx, lambdarun.Config{Bootstrap: programs[name], Log: log, Env: c.audited(slices.Concat(env, c.env))})
	if err != nil {
		err = fmt.Errorf("%s: %w\n%s", name, err, bootstrap.Tail(log.String()))
	}
	return running, err
}

// checkLogs looks for what must never be in a log, once the programs have ended.
func (c *cloud) checkLogs() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, log := range c.logs {
		text := log.String()
		if strings.Contains(text, "panic") {
			c.Errorf("a function panicked:\n%s", bootstrap.Tail(text))
		}
		noSecretIn(c.TB, "the log of a function", text, c.allSecrets())
	}
}

// function is a Lambda function that has one process, started by its first event.
type function struct {
	*cloud
	name string

	mu      sync.Mutex // guards what follows, and lets in one event at a time
	running *lambdarun.Runtime
}

func (c *cloud) function(name string) *function {
	f := &function{cloud: c, name: name}
	c.Cleanup(func() {
		if f.running == nil {
			return
		}
		if err := f.running.Stop(); err != nil {
			c.Logf("stop %s: %v", name, err) // the function's own tests say when that is a fault
		}
	})
	return f
}

func (f *function) invoke(event []byte) (payload json.RawMessage, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	// Not the test's: what ends with the test is told to sweep too.
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if f.running == nil {
		if f.running, err = f.start(ctx, f.name); err != nil {
			return nil, err
		}
	}
	answer, err := f.running.Invoke(ctx, event)
	if err == nil && answer.Failure != nil {
		err = fmt.Errorf("%s failed: %s", f.name, answer.Failure)
	}
	return answer.Payload, err
}

// command is what an operator asks admin for, by fields and values in turn.
func (c *cloud) command(name string, fields ...string) (answer map[string]any) {
	c.Helper()
	event := map[string]string{"command": name}
	for i := 0; i < len(fields); i += 2 {
		event[fields[i]] = fields[i+1]
	}
	encoded, err := json.Marshal(event)
	if err != nil {
		c.Fatal(err)
	}
	payload, err := c.admin.invoke(encoded)
	if err != nil {
		c.Fatal(err)
	}
	if err := json.Unmarshal(payload, &answer); err != nil {
		c.Fatal(err)
	}
	return answer
}

// newKey makes a tenant and a key of it.
func (c *cloud) newKey(tenant string) string {
	c.Helper()
	c.command("create-tenant", "tenant", tenant)
	key, _ := c.command("create-key", "tenant", tenant, "name", "e2e", "scope", "tenant")["key"].(string)
	if key == "" {
		c.Fatal("admin answered no key")
	}
	c.secret(key)
	return key
}

// serve is the door that API Gateway opens.
func (c *cloud) serve() *httptest.Server {
	c.Cleanup(func() {
		if err := c.gateway.Close(); err != nil {
			c.Logf("stop the API: %v", err) // its own tests say when that is a fault
		}
	})
	return httptest.NewServer(http.HandlerFunc(c.gateway.ServeHTTP))
}

// eventFile is an event as the function's own tests have it.
func (c *cloud) eventFile(function, name string) []byte {
	c.Helper()
	event, err := os.ReadFile("../../functions/" + function + "/events/" + name + ".json")
	if err != nil {
		c.Fatal(err)
	}
	return event
}

// scheduled is what EventBridge does once a minute, and returns what sweep found.
func (c *cloud) scheduled() map[string]any {
	c.Helper()
	payload, err := c.sweep.invoke(c.eventFile("sweep", "schedule"))
	if err != nil {
		c.Fatal(err)
	}
	var found map[string]any
	if err := json.Unmarshal(payload, &found); err != nil {
		c.Fatal(err)
	}
	return found
}

// tellOfTheEnd lets EventBridge tell sweep that a task has stopped, once its
// process has. It delivers again what failed. told is closed when it is over.
func (c *cloud) tellOfTheEnd(task string, ended <-chan struct{}) (told <-chan struct{}) {
	const attempts = 5
	of := struct{ Detail struct{ TaskARN string } }{}
	event := c.eventFile("sweep", "task-stopped")
	if err := json.Unmarshal(event, &of); err != nil || of.Detail.TaskARN == "" {
		c.Fatalf("task %q, error %v", of.Detail.TaskARN, err)
	}
	event = []byte(strings.ReplaceAll(string(event), of.Detail.TaskARN, task))
	over := make(chan struct{})
	c.telling.Go(func() {
		defer close(over)
		<-ended
		for attempt := range attempts {
			if _, err := c.sweep.invoke(event); err == nil {
				return
			}
			time.Sleep(time.Duration(attempt) * 100 * time.Millisecond) // as EventBridge waits, but shorter
		}
	})
	return over
}
