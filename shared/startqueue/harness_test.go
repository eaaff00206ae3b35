package startqueue_test

import (
	"bytes"
	"context"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/wafleet/wafleet/shared/session"
	"github.com/wafleet/wafleet/shared/startqueue"
	"github.com/wafleet/wafleet/shared/startqueue/fakesqs"
)

// world is a queue without a network, whose time is the test's, and who counts.
type world struct {
	*testing.T
	server *fakesqs.Server
	queue  *fakesqs.Queue
	dead   *fakesqs.Queue
	opened *startqueue.Queue
	log    lockedBuffer

	mu     sync.Mutex
	counts map[string]int // guarded by mu
}

const base = "http://127.0.0.1:9324"

// simulate runs play where time passes only while everything waits.
func simulate(t *testing.T, play func(w *world)) {
	t.Helper()
	t.Parallel()
	synctest.Test(t, func(t *testing.T) { play(newWorld(t)) })
}

func newWorld(t *testing.T) *world {
	w := &world{T: t, server: fakesqs.New(), counts: map[string]int{}}
	w.dead = w.server.Queue("dead", fakesqs.Settings{})
	w.queue = w.server.Queue("starts", fakesqs.Settings{Visibility: 15 * time.Second, DeadLetters: "dead", MaxReceives: 5})
	var err error
	if w.opened, err = startqueue.OpenWith(settings(w.server), fakesqs.URL(base, "starts")); err != nil {
		t.Fatal(err)
	}
	return w
}

func (w *world) logger() *slog.Logger { return slog.New(slog.NewJSONHandler(&w.log, nil)) }

func (w *world) count(what string, n int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if n > 0 {
		w.counts[what] += n
	}
}

func (w *world) HintSent()                        { w.count("sent", 1) }
func (w *world) HintFailed()                      { w.count("failed", 1) }
func (w *world) HintSkipped()                     { w.count("skipped", 1) }
func (w *world) QueueReceived(n int)              { w.count("received", n) }
func (w *world) QueueMessages(fate string, n int) { w.count(fate, n) }
func (w *world) QueueFailed(call string)          { w.count(call+" failed", 1) }

// want compares everything that was counted.
func (w *world) want(want map[string]int) {
	w.Helper()
	w.mu.Lock()
	defer w.mu.Unlock()
	if !maps.Equal(w.counts, want) {
		w.Errorf("counted %v, want %v", w.counts, want)
	}
}

// wantCalls compares how often SQS was called in all.
func (w *world) wantCalls(operation string, want int) {
	w.Helper()
	if n := w.server.Calls(operation); n != want {
		w.Errorf("%d calls of %s, want %d", n, operation, want)
	}
}

func (w *world) wantQueue(bodies ...string) {
	w.Helper()
	if got := w.queue.Bodies(); !slices.Equal(got, bodies) {
		w.Errorf("the queue holds %q, want %q", got, bodies)
	}
}

// after lets time pass and all that follows happen.
func (w *world) after(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

type lockedBuffer struct {
	mu   sync.Mutex
	text bytes.Buffer // guarded by mu
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.Write(p)
}

func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.String()
}

func (b *lockedBuffer) lines() int { return strings.Count(b.String(), "\n") }

// connector is a connector as the receiver sees it.
type connector struct {
	mu      sync.Mutex
	free    int                 // guarded by mu; slots
	room    context.Context     // guarded by mu
	full    context.CancelFunc  // guarded by mu
	waits   map[session.ID]bool // guarded by mu; these it may not take
	down    error               // guarded by mu; the database is out of reach
	asked   [][]session.ID      // guarded by mu
	claimed func()              // nil: at once
}

func newConnector(free int) *connector {
	c := &connector{waits: map[session.ID]bool{}}
	c.setFree(free)
	return c
}

func (c *connector) setFree(n int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.free = n; n == 0 && c.full != nil {
		c.full()
	}
	if n > 0 && (c.room == nil || c.room.Err() != nil) {
		c.room, c.full = context.WithCancel(context.Background())
	}
}

func (c *connector) AwaitRoom(ctx context.Context) (int, context.Context, error) {
	for {
		c.mu.Lock()
		free, room := c.free, c.room
		c.mu.Unlock()
		if ctx.Err() != nil {
			return 0, nil, ctx.Err()
		}
		if free > 0 {
			return free, room, nil
		}
		select {
		case <-time.After(200 * time.Millisecond):
		case <-ctx.Done():
		}
	}
}

func (c *connector) ClaimNamed(ctx context.Context, ids []session.ID) (waiting []session.ID, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.asked = append(c.asked, slices.Clone(ids))
	if c.claimed != nil {
		c.claimed()
	}
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	for _, id := range ids {
		if c.waits[id] {
			waiting = append(waiting, id)
		}
	}
	return waiting, c.down
}

func (c *connector) set(change func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	change()
}

// wantAsked compares which sessions were to be claimed, call by call.
func (w *world) wantAsked(c *connector, want ...[]session.ID) {
	w.Helper()
	c.mu.Lock()
	defer c.mu.Unlock()
	if !slices.EqualFunc(c.asked, want, slices.Equal[[]session.ID]) {
		w.Errorf("asked to claim %v, want %v", c.asked, want)
	}
}

// receive runs a receiver for a connector until leave, which waits for it.
func (w *world) receive(c *connector) (leave func()) {
	ctx, cancel := context.WithCancel(w.Context())
	out := make(chan error, 1)
	receiver := startqueue.NewReceiver(w.opened, w, w.logger())
	go func() { out <- receiver.Run(ctx, c) }()
	synctest.Wait()
	leave = sync.OnceFunc(func() {
		cancel()
		if err := <-out; err != nil {
			w.Error(err)
		}
	})
	w.Cleanup(leave)
	return leave
}

const (
	idA = session.ID("0190f5fe-7c00-7a00-8000-00000000000a")
	idB = session.ID("0190f5fe-7c00-7a00-8000-00000000000b")
	idC = session.ID("0190f5fe-7c00-7a00-8000-00000000000c")
)

func hintOf(id session.ID) string { return `{"session":"` + string(id) + `","generation":1}` }

func ids(list ...session.ID) []session.ID { return list }
