// Package health answers for the process on its private port:
//
//	/livez         200 while the process may act: its lease is trusted and its loop turns
//	/readyz        200 while it also takes sessions: not draining, database in reach
//	/metrics       for Prometheus
//	/debug/pprof/  profiles of the process: CPU, heap, goroutine, mutex and others
//
// Neither says anything about WhatsApp or about one session: an outage of
// WhatsApp must not make a scheduler kill the fleet.
package health

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/pprof" // #nosec G108 -- served on the private port only, never from the default mux
	"runtime"
	"sync/atomic"
	"time"
)

// pingTimeout bounds the database check of /readyz.
const pingTimeout = 2 * time.Second

// Pinger is a database that may be out of reach.
type Pinger interface {
	Ping(ctx context.Context) error
}

// State is what the process says about itself. Safe for concurrent use.
type State struct {
	alive    atomic.Pointer[func() error]
	draining atomic.Bool
}

// SetAlive says how to ask whether the process may act; nil says that it is
// between two leases.
func (s *State) SetAlive(alive func() error) {
	if alive == nil {
		s.alive.Store(nil)
		return
	}
	s.alive.Store(&alive)
}

// SetDraining says that the process takes no more sessions.
func (s *State) SetDraining() { s.draining.Store(true) }

var errNoLease = errors.New("no lease yet")

func (s *State) live() error {
	alive := s.alive.Load()
	if alive == nil {
		return errNoLease
	}
	return (*alive)()
}

func (s *State) ready(ctx context.Context, db Pinger) error {
	if s.draining.Load() {
		return errors.New("draining")
	}
	if err := s.live(); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, pingTimeout)
	defer cancel()
	return db.Ping(ctx)
}

// profileTime is the longest CPU profile or trace, and a little more.
const profileTime = 65 * time.Second

// mutexShare is one of how many waits for a mutex is in the profile of them: rare
// enough to cost nothing.
const mutexShare = 1000

// Handler serves these paths.
func Handler(s *State, db Pinger, metrics http.Handler) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /livez", func(w http.ResponseWriter, _ *http.Request) { answer(w, s.live()) })
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, r *http.Request) { answer(w, s.ready(r.Context(), db)) })
	mux.Handle("GET /metrics", metrics)
	mux.HandleFunc("GET /debug/pprof/", pprof.Index)
	mux.HandleFunc("GET /debug/pprof/profile", pprof.Profile)
	mux.HandleFunc("GET /debug/pprof/symbol", pprof.Symbol)
	mux.HandleFunc("POST /debug/pprof/symbol", pprof.Symbol)
	mux.HandleFunc("GET /debug/pprof/trace", pprof.Trace)
	return mux
}

func answer(w http.ResponseWriter, problem error) {
	body := map[string]string{"status": "ok"}
	status := http.StatusOK
	if problem != nil {
		status = http.StatusServiceUnavailable
		body = map[string]string{"status": "error", "problem": problem.Error()}
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(body)
}

// Serve answers on a listener until ctx ends.
func Serve(ctx context.Context, listener net.Listener, handler http.Handler) error {
	runtime.SetMutexProfileFraction(mutexShare)
	server := &http.Server{Handler: handler, ReadHeaderTimeout: 5 * time.Second, WriteTimeout: profileTime, IdleTimeout: time.Minute}
	done := make(chan error, 1)
	go func() { done <- server.Serve(listener) }()
	select {
	case err := <-done:
		return fmt.Errorf("serve health: %w", err)
	case <-ctx.Done():
	}
	bye, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
	defer cancel()
	if err := server.Shutdown(bye); err != nil {
		server.Close()
	}
	<-done
	return nil
}

// client asks this machine: no proxy, and nothing is kept open.
var client = &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}

// Check asks a running connector for /livez: for container health checks,
// whose images hold no other program.
func Check(ctx context.Context, address string) error {
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return fmt.Errorf("LISTEN must be host:port: %w", err)
	}
	if ip := net.ParseIP(host); host == "" || (ip != nil && ip.IsUnspecified()) {
		host = "127.0.0.1"
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+net.JoinHostPort(host, port)+"/livez", nil)
	if err != nil {
		return err
	}
	response, err := client.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return fmt.Errorf("the connector answers %s", response.Status)
	}
	return nil
}
