package coldstart

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/wafleet/wafleet/shared/apikey"
	"github.com/wafleet/wafleet/shared/e2e/bootstrap"
	"github.com/wafleet/wafleet/shared/e2e/lambdarun"
	"github.com/wafleet/wafleet/shared/pgtest"
	"github.com/wafleet/wafleet/shared/schema"
	"github.com/wafleet/wafleet/shared/store"
)

const (
	coldStarts = 15
	warmEvents = 500
)

func architecture() string { return runtime.GOARCH }

func migrate(ctx context.Context, url string) error { return schema.Migrate(ctx, url, nil) }

// measured is which event of a function is measured, and what its answer holds.
var measured = map[string]struct{ event, says string }{
	"api":     {"get", `\"status\":\"STARTING\"`},
	"sweep":   {"schedule", `"wanted":1`},
	"admin":   {"list-tenants", `"name":"acme"`},
	"migrate": {"migrate", `"schemaVersion"`},
}

// BenchmarkLambda runs the built programs with real events: see the package.
func BenchmarkLambda(b *testing.B) {
	w := newWorld(b)
	var report strings.Builder
	if load, err := os.ReadFile("/proc/loadavg"); err == nil {
		fmt.Fprintf(&report, "load of the machine before: %s", load)
	}
	fmt.Fprintf(&report, "aims: cold init without a database <= %d ms, arm64 <= %d MB\n", maxInit, maxSize>>20)
	fmt.Fprintf(&report, "%-8s %-13s %22s %22s %14s %18s %9s %9s\n", "function", "event", "cold init ms p50, max", "without database", "first answer", "warm ms p50, p99", "memory", "arm64")
	for b.Loop() {
		for _, name := range names(b) {
			fmt.Fprintln(&report, w.measure(name))
		}
	}
	b.ReportMetric(0, "ns/op")
	fmt.Printf("\n%s", report.String()) // a benchmark's own log is cut short
}

// world is a database with a tenant, its key and a session, as the event files
// know them.
type world struct {
	*testing.B
	url string
}

const exampleKey = "wafleet-example-key" // of the API's event files

func newWorld(b *testing.B) *world {
	b.Helper()
	w := &world{B: b, url: pgtest.New(b, migrate)}
	w.admitExampleKey()
	api := w.start(w.program("api"), w.env())
	w.invoke(api, event(b, "api", "start"), `"statusCode":201`)
	w.stop(api)
	return w
}

func (w *world) admitExampleKey() {
	w.Helper()
	opened, err := store.Open(w.url, store.Options{})
	if err != nil {
		w.Fatal(err)
	}
	defer opened.Close()
	tenant, err := opened.EnsureTenant(w.Context(), "acme")
	if err != nil {
		w.Fatal(err)
	}
	id, hash, err := apikey.Parse(exampleKey)
	if err != nil {
		w.Fatal(err)
	}
	if err := opened.AdmitKey(w.Context(), tenant, store.NewKey{ID: id, Hash: hash[:], Name: "example", Scope: store.ScopeAdmin}); err != nil {
		w.Fatal(err)
	}
}

func (w *world) env() string { return "DATABASE_URL=" + w.url }

func (w *world) program(name string) string {
	w.Helper()
	program, _ := build(w.B, name, architecture())
	return program
}

func (w *world) start(program string, env ...string) *lambdarun.Runtime {
	w.Helper()
	log := &bootstrap.Output{}
	running, err := lambdarun.Start(w.Context(), lambdarun.Config{Bootstrap: program, Log: log, Env: append(env, "SQLITE_AVAILABLE=true", "RATE_LIMIT_PER_SECOND=0")})
	if err != nil {
		w.Fatalf("%v\n%s", err, log)
	}
	return running
}

func (w *world) stop(running *lambdarun.Runtime) {
	w.Helper()
	if err := running.Stop(); err != nil {
		w.Error(err)
	}
}

func (w *world) invoke(running *lambdarun.Runtime, event []byte, says string) (took time.Duration) {
	w.Helper()
	answer, err := running.Invoke(w.Context(), event)
	if err != nil || answer.Failure != nil || !bytes.Contains(answer.Payload, []byte(says)) {
		w.Fatalf("answer %s %s, error %v; want one with %s", answer.Payload, answer.Failure, err, says)
	}
	return answer.Took
}

func event(t testing.TB, function, name string) []byte {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("../../../functions", function, "events", name+".json"))
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// measure is one line of the table.
func (w *world) measure(name string) string {
	w.Helper()
	m, program := measured[name], w.program(name)
	if m.event == "" {
		w.Fatalf("no event of %s is measured", name)
	}
	ask := event(w.B, name, m.event)
	var inits, without, answers, warm []time.Duration
	for range coldStarts {
		bare := w.start(program, nowhere)
		without = append(without, bare.ColdStart())
		w.stop(bare)
		cold := w.start(program, w.env())
		w.invoke(cold, ask, m.says)
		inits, answers = append(inits, cold.ColdStart()), append(answers, cold.Age())
		w.stop(cold)
	}
	running := w.start(program, w.env())
	for range warmEvents {
		warm = append(warm, w.invoke(running, ask, m.says))
	}
	peak, err := running.PeakMemory()
	if err != nil {
		w.Fatal(err)
	}
	w.stop(running)
	_, size := build(w.B, name, "arm64")
	w.ReportMetric(ms(at(without, 0.5)), name+"-init-ms")
	return fmt.Sprintf("%-8s %-13s %22s %22s %14s %18s %6.1f MB %6.1f MB", name, m.event, pair(inits, 1), pair(without, 1),
		fmt.Sprintf("%.1f", ms(at(answers, 0.5))), pair(warm, 0.99), float64(peak)/(1<<20), float64(size)/(1<<20))
}

// at is the value below which a share of all are.
func at(list []time.Duration, share float64) time.Duration {
	sorted := slices.Sorted(slices.Values(list))
	return sorted[min(len(sorted)-1, int(share*float64(len(sorted))))]
}

func pair(list []time.Duration, share float64) string {
	return fmt.Sprintf("%.1f, %.1f", ms(at(list, 0.5)), ms(at(list, share)))
}

func ms(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }
