package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/wafleet/wafleet/shared/pgtest"
)

// patience bounds every wait for something that must happen.
const patience = 30 * time.Second

// envRole makes the test binary a connector of the given id: one that obeys
// SIGTERM, or one that dies at once.
const envRole = "WAFLEET_LOCAL_TEST_ROLE"

func TestMain(m *testing.M) {
	role, id, _ := strings.Cut(os.Getenv(envRole), ":")
	switch role {
	case "":
		goleak.VerifyTestMain(pgtest.Wrap(m))
	case "obeys", "dies":
		terms := make(chan os.Signal, 1)
		signal.Notify(terms, syscall.SIGTERM)
		fmt.Printf(`{"level":"INFO","msg":"connector registered","connector":%q,"address":"127.0.0.1:1"}`+"\n", id)
		if role == "dies" {
			os.Exit(7)
		}
		<-terms
	}
}

// page is a console that a test reads.
type page struct {
	mu   sync.Mutex // guards text
	text strings.Builder
}

func (p *page) Write(b []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.text.Write(b)
}

func (p *page) String() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.text.String()
}

func next[T any](t *testing.T, from <-chan T, what string) T {
	t.Helper()
	select {
	case value := <-from:
		return value
	case <-time.After(patience):
		t.Fatalf("no %s in time", what)
		panic("unreachable")
	}
}

// poll asks until the answer is yes.
func poll(t *testing.T, what string, ask func() bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for !ask() {
		select {
		case <-tick.C:
		case <-ctx.Done():
			t.Fatalf("not in time: %s", what)
		}
	}
}
