// Package protect keeps ECS from ending the task while somebody links a phone.
//
// A session that works moves to another connector within seconds, and nobody
// notices. One whose QR code is on somebody's screen does not: the code dies
// with its connection. So the task asks ECS for scale-in protection while this
// process has sessions that wait for a scan or are being linked, and for no
// longer, because a protected task also holds up deployments:
//
//	looks every 3 s:  pairings   protection
//	                  none       none, or released at once
//	                  some       held: asked for 5 min at a time, renewed every 2 min
//	                  some, and held for 15 min without a break:
//	                             released, and not asked for again until a look finds no pairing
//
// What was asked without an answer counts as held, so that it is released too.
// What cannot be released passes by itself. Nothing depends on the protection:
// where ECS refuses it or does not answer, the pairing runs as ever.
//
// [Guard.Run] is started by main, where ECS gives the container an agent, and
// ends with its context, which is the process's intake: who drains asks for
// nothing more and releases what it has.
package protect

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"github.com/wafleet/wafleet/shared/backoff"
)

const (
	lookEvery  = 3 * time.Second
	renewEvery = 2 * time.Minute
	// protectFor survives one renewal that fails for a while. ECS counts in whole minutes.
	protectFor = 5 * time.Minute
	// longest is what a deployment may have to wait for a process that always pairs.
	longest = 15 * time.Minute
)

// Guard holds the protection of one task. Make it with New.
type Guard struct {
	agent   *agent
	pairing func() int
	log     *slog.Logger

	// All of these belong to Run's goroutine.
	since   time.Time // when the unbroken protection began
	renewed time.Time // when the last request that was granted was sent
	until   time.Time // the task may be protected until then; zero: it is not
	spent   bool      // protected for the longest time; waits for a look without pairings
	failing bool      // the last request failed, and the log says so
}

// New returns the guard of the task whose agent answers at agentURI, which ECS
// puts into the environment of every container as ECS_AGENT_URI. pairing tells
// how many sessions of this process wait for a scan or are being linked; it is
// called every few seconds.
func New(agentURI string, pairing func() int, log *slog.Logger) *Guard {
	return &Guard{agent: newAgent(agentURI), pairing: pairing, log: log}
}

// Run looks after the protection until ctx ends, and then releases it. It
// never fails.
func (g *Guard) Run(ctx context.Context) error {
	for ctx.Err() == nil {
		g.look(ctx)
		select {
		case <-ctx.Done():
		case <-time.After(backoff.Jitter(lookEvery)):
		}
	}
	if g.held() {
		g.release(context.WithoutCancel(ctx))
	}
	return nil
}

// look compares what is with what should be.
func (g *Guard) look(ctx context.Context) {
	pairings := g.pairing()
	if pairings == 0 {
		g.spent = false
	}
	switch {
	case pairings == 0 || g.spent:
		if g.held() {
			g.release(ctx)
		}
	case g.held() && time.Since(g.since) >= longest:
		g.spent = true
		g.log.Warn("sessions pair without a break; the task is no longer protected from scale-in", "pairings", pairings)
		g.release(ctx)
	case !g.held() || time.Since(g.renewed) >= renewEvery:
		g.protect(ctx, pairings)
	}
}

// held tells whether the task may be protected.
func (g *Guard) held() bool { return time.Now().Before(g.until) }

// protect asks for the protection, or for more of it.
func (g *Guard) protect(ctx context.Context, pairings int) {
	sent, first := time.Now(), !g.held()
	err := g.agent.set(ctx, true)
	g.note(ctx, err)
	if errors.Is(err, errRefused) {
		return
	}
	if first {
		g.since = sent
	}
	g.until = time.Now().Add(protectFor)
	if err == nil {
		g.renewed = sent
		g.log.Debug("the task is protected from scale-in", "pairings", pairings)
	}
}

// release gives the protection back. What failed is tried again by the next
// look while there may be something to release.
func (g *Guard) release(ctx context.Context) {
	err := g.agent.set(ctx, false)
	g.note(ctx, err)
	if err == nil {
		g.until = time.Time{}
		g.log.Debug("the task is no longer protected from scale-in")
	}
}

// note logs that requests began to fail, or to succeed again.
func (g *Guard) note(ctx context.Context, err error) {
	if failing := err != nil; failing != g.failing && ctx.Err() == nil {
		g.failing = failing
		if failing {
			g.log.Warn("ECS did not change the task's protection from scale-in; trying again", "error", err.Error())
		} else {
			g.log.Info("ECS changes the task's protection from scale-in again")
		}
	}
}
