package e2e

import (
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/wafleet/wafleet/shared/e2e/bootstrap"
	"github.com/wafleet/wafleet/shared/session"
	"github.com/wafleet/wafleet/shared/startqueue"
	"github.com/wafleet/wafleet/shared/startqueue/fakesqs"
)

// queue is SQS as this process and its connectors see it.
type queue struct {
	*fakesqs.Queue
	server *fakesqs.Server
	sender *startqueue.Sender // nil: the API sends nothing
	env    []string           // of a connector that receives
}

// newQueue sets the environment of this process too, so no test that runs
// beside others can have one.
func newQueue(t testing.TB) *queue {
	t.Helper()
	fake := fakesqs.New()
	fake.Queue("starts-dead", fakesqs.Settings{})
	q := &queue{server: fake, Queue: fake.Queue("starts", fakesqs.Settings{Visibility: 15 * time.Second, DeadLetters: "starts-dead", MaxReceives: 5})}
	server := httptest.NewServer(fake)
	t.Cleanup(server.Close)
	q.env = append(fakesqs.Environment(server.URL), "QUEUE_URL="+fakesqs.URL(server.URL, "starts"))
	for _, line := range q.env {
		name, value, _ := strings.Cut(line, "=")
		t.Setenv(name, value)
	}
	opened, err := startqueue.Open(t.Context(), fakesqs.URL(server.URL, "starts"))
	if err != nil {
		t.Fatal(err)
	}
	q.sender = startqueue.NewSender(opened, uncounted{}, slog.New(slog.DiscardHandler))
	return q
}

type uncounted struct{}

func (uncounted) HintSent()    {}
func (uncounted) HintFailed()  {}
func (uncounted) HintSkipped() {}

// BenchmarkHints measures how long a start waits for its claim, from the request
// on, where connectors hear of it from the database, from SQS, or not at all.
func BenchmarkHints(b *testing.B) {
	if bootstrap.Race() {
		b.Skip("the race detector would be measured")
	}
	t := newTable()
	b.Cleanup(t.print)
	for _, way := range []struct {
		name          string
		listen, queue bool
	}{{"NOTIFY", true, false}, {"SQS only", false, true}, {"poll only", false, false}} {
		b.Run(way.name, func(b *testing.B) {
			s := hintedBy(b, way.listen, way.queue)
			took := make([]time.Duration, 40)
			for i := range took {
				took[i] = s.claimed(fmt.Sprint("s", i))
			}
			all := spreadOf(took)
			t.figure("start to claim, "+way.name, fmt.Sprintf("p50 %.1f ms, p99 %.1f ms", milliseconds(all.p50), milliseconds(all.p99)))
			b.ReportMetric(milliseconds(all.p50), "p50-ms")
			b.ReportMetric(milliseconds(all.p99), "p99-ms")
			b.ReportMetric(0, "ns/op")
		})
	}
}

// hintedBy starts a system with one connector that hears of starts by some ways
// only, and by polls.
func hintedBy(b *testing.B, listen, hinted bool) *system {
	b.Helper()
	o := options{measured: true}
	env := []string{"LOG_LEVEL=INFO"}
	if hinted {
		q := newQueue(b)
		o.hints, env = q.sender, append(env, q.env...)
	}
	s := newSystem(b, o)
	p := s.spy()
	p.setDeaf(!listen)
	s.connector(append(env, "DATABASE_URL="+p.relay.through)...)
	if listen {
		s.eventually("a connection that listens", func() bool { return s.rows(`SELECT count(*)`+listening) == 1 })
	}
	s.claimed("warm-up")
	return s
}

// claimed starts a session at a moment that has nothing to do with the polls, and
// returns how long it took until somebody held it.
func (s *system) claimed(name string) time.Duration {
	s.Helper()
	time.Sleep(rand.N(time.Second)) // is part of what is measured, not a wait for something
	began := time.Now()
	s.start(name, postgresStart)
	for {
		found, err := s.store.Session(s.Context(), session.TenantID(s.tenantID()), session.Name(name))
		if err != nil {
			s.Fatal(err)
		}
		if found.Run.Holder != "" {
			return time.Since(began)
		}
		if time.Since(began) > patience {
			s.Fatalf("%s is not claimed after %v", name, patience)
		}
		time.Sleep(time.Millisecond) // the database tells nobody
	}
}
