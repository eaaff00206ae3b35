package supervisor

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/wafleet/wafleet/connector/runner"
	"github.com/wafleet/wafleet/shared/backoff"
	"github.com/wafleet/wafleet/shared/session"
	"github.com/wafleet/wafleet/shared/store"
	"github.com/wafleet/wafleet/shared/telemetry"
)

// Store is the queue and the wishes of users.
type Store interface {
	ClaimIfFree(ctx context.Context, me session.ConnectorID, slots, held, soon int) ([]store.Claim, error)
	ClaimNamedIfFree(ctx context.Context, me session.ConnectorID, ids []session.ID, slots, held, soon int) ([]store.Claim, error)
	UnclaimedOf(ctx context.Context, ids []session.ID) ([]session.ID, error)
	EnqueueOrphans(ctx context.Context) (store.Orphans, error)
	LookAround(ctx context.Context, me session.ConnectorID) (store.Look, error)
	ChangesHeld(ctx context.Context, me session.ConnectorID) ([]store.Change, error)
	TermsHeld(ctx context.Context, me session.ConnectorID) ([]store.Term, error)
	SetDraining(ctx context.Context, me session.ConnectorID) error
	Loads(ctx context.Context) ([]store.Load, error)
	EraseIfEpoch(ctx context.Context, me session.ConnectorID, term store.Term) error
}

// Reporter gives sessions back.
type Reporter interface {
	Release(ctx context.Context, report store.Report) error
}

// Observer counts what happens, for metrics.
type Observer interface {
	Claimed(by string, waited time.Duration)
	Released(session.ReasonCode)
	HandedOver(why string)
	Fenced()
}

// Open opens the device store of a claim. held says whether the term goes on.
type Open func(ctx context.Context, claim store.Claim, held func() error, log *slog.Logger) (runner.Device, error)

// Trust says whether the process may act at all.
type Trust interface{ Err() error }

// Config of a supervisor. Zero fields get the documented defaults.
type Config struct {
	Slots        int           // sessions at most
	Poll         time.Duration // 1 s: how late a lost hint can make us
	OrphanScan   time.Duration // 5 s
	DrainAtOnce  int           // 32: sessions handed back side by side
	DrainTimeout time.Duration // 90 s: within the 120 s that a container gets
	Connects     int           // per second, of every connector; 25: paces a drain
	Turns        func() int    // how many sessions could begin to connect within a moment; nil: any number
	Moves        int           // per second, to a connector that holds less; 0: none
	Settle       time.Duration // 10 s: how old a connector or a login is before a session moves there or away
}

func (c Config) withDefaults() Config {
	if c.Poll == 0 {
		c.Poll = time.Second
	}
	if c.OrphanScan == 0 {
		c.OrphanScan = 5 * time.Second
	}
	if c.DrainAtOnce == 0 {
		c.DrainAtOnce = 32
	}
	if c.DrainTimeout == 0 {
		c.DrainTimeout = 90 * time.Second
	}
	if c.Connects == 0 {
		c.Connects = 25
	}
	if c.Settle == 0 {
		c.Settle = 10 * time.Second
	}
	return c
}

// queryTimeout bounds one look at the database.
const queryTimeout = 5 * time.Second

// Supervisor runs the sessions of one connector id.
type Supervisor struct {
	me       session.ConnectorID
	config   Config
	store    Store
	reporter Reporter
	observer Observer
	open     Open
	deps     runner.Deps
	trust    Trust
	log      *slog.Logger

	claimSoon   chan struct{} // one slot: a wake-up
	hinted      atomic.Bool   // claimSoon is for a hint
	changesSoon chan struct{} // one slot: a wake-up
	named       chan named    // what queues ask Run's loop for
	terms       sync.WaitGroup
	opening     atomic.Int64 // claimed, and not yet in the queue of connects
	balance     balance      // only Run's loop touches it
	again       *time.Timer  // the same

	mu   sync.Mutex
	held map[session.ID]*term // guarded by mu
	room context.Context      // guarded by mu; ends when the last free slot is taken
	full context.CancelFunc   // guarded by mu; ends room
}

// New returns a supervisor; Run runs it.
func New(me session.ConnectorID, config Config, s Store, reporter Reporter, observer Observer, open Open, deps runner.Deps, trust Trust, log *slog.Logger) *Supervisor {
	room, full := context.WithCancel(context.Background())
	return &Supervisor{
		me: me, config: config.withDefaults(), store: s, reporter: reporter, observer: observer, open: open, deps: deps, trust: trust, log: log,
		claimSoon: make(chan struct{}, 1), changesSoon: make(chan struct{}, 1), named: make(chan named),
		held: map[session.ID]*term{}, room: room, full: full,
	}
}

// Hint says that something about a session changed; an empty id says that
// hints may have been missed. It does not wait.
func (s *Supervisor) Hint(id session.ID) {
	mine := s.term(id) != nil
	if mine || id == "" {
		poke(s.changesSoon)
	}
	if !mine {
		s.hinted.Store(true)
		poke(s.claimSoon)
	}
}

// Fence ends a term that turned out to be over.
func (s *Supervisor) Fence(t store.Term) {
	held := s.term(t.ID)
	if held != nil && held.claim.Epoch == t.Epoch && held.cancel(session.ErrFenced) {
		s.observer.Fenced()
	}
}

// Held is how many sessions are held, for metrics.
func (s *Supervisor) Held() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.held)
}

// Vitals is what the next heartbeat tells.
func (s *Supervisor) Vitals() store.Vitals {
	v := store.Vitals{Held: s.Held()}
	for _, r := range s.runners() {
		if at := r.Heard(); !at.IsZero() && (v.HeardAt.IsZero() || at.Before(v.HeardAt)) {
			v.HeardAt = at
		}
	}
	return v
}

// Pairing is how many sessions wait for a phone, or have just been linked.
func (s *Supervisor) Pairing() int {
	n := 0
	for _, r := range s.runners() {
		if r.Pairing() {
			n++
		}
	}
	return n
}

func (s *Supervisor) snapshot() []*term {
	s.mu.Lock()
	defer s.mu.Unlock()
	terms := make([]*term, 0, len(s.held))
	for _, t := range s.held {
		terms = append(terms, t)
	}
	return terms
}

// runners are those of the terms whose device store is open.
func (s *Supervisor) runners() []*runner.Runner {
	terms := s.snapshot()
	running := make([]*runner.Runner, 0, len(terms))
	for _, t := range terms {
		if r := t.running(); r != nil {
			running = append(running, r)
		}
	}
	return running
}

// term returns the term of a session that is held, or nil.
func (s *Supervisor) term(id session.ID) *term {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.held[id]
}

func poke(wake chan struct{}) {
	select {
	case wake <- struct{}{}:
	default:
	}
}

// Run claims and runs sessions until intake ends, then hands them back; or
// until authority ends, then drops them. When it returns, every runner has.
func (s *Supervisor) Run(authority, intake context.Context) error {
	defer s.terms.Wait()
	s.again = time.NewTimer(time.Hour)
	defer s.again.Stop()
	poke(s.claimSoon)
	poll := time.NewTimer(backoff.Jitter(s.config.Poll))
	defer poll.Stop()
	orphans := time.NewTimer(backoff.Jitter(s.config.OrphanScan))
	defer orphans.Stop()
	moves, stopMoves := s.moveTicks()
	defer stopMoves()
	for {
		// The ends come before whatever else waits.
		switch {
		case authority.Err() != nil:
			return context.Cause(authority)
		case intake.Err() != nil:
			return s.drain(authority)
		}
		select {
		case <-authority.Done():
		case <-intake.Done():
		case <-s.claimSoon:
			s.claim(authority, s.cause())
		case <-s.again.C:
			if s.soon(s.Held()) > 0 {
				s.claim(authority, byPoll)
			} else {
				s.again.Reset(claimAgain)
			}
		case n := <-s.named:
			n.answer <- s.claimNamed(authority, n.ids)
		case <-s.changesSoon:
			s.passOnChanges(authority)
		case <-orphans.C:
			s.findOrphans(authority)
			s.giveBackStrays(authority)
			s.compareLoads(authority)
			for _, r := range s.runners() {
				r.Watch()
			}
			orphans.Reset(backoff.Jitter(s.config.OrphanScan))
		case <-moves:
			s.moveOne()
		case <-poll.C:
			s.lookAround(authority)
			poll.Reset(backoff.Jitter(s.config.Poll))
		}
	}
}

// claimAgain is when to claim again where only the pace of connects kept the
// connector from more. While it has no turns at all, only polls claim: of the jobs
// that waited long every look takes a part, and who is busiest must not look most.
const claimAgain = 200 * time.Millisecond

// soon is how many more sessions could be claimed and connected within a moment.
func (s *Supervisor) soon(held int) int {
	if s.config.Turns == nil {
		return s.config.Slots - held
	}
	return s.config.Turns() - int(s.opening.Load())
}

// What made a connector look for sessions to claim, for metrics.
const (
	byPoll   = "poll"   // also what else it does by itself, such as to fill a slot that became free
	byNotify = "notify" // a hint by way of the database
	byQueue  = "queue"  // a hint by way of a queue, which names the session
)

// cause is why claimSoon was poked.
func (s *Supervisor) cause() string {
	if s.hinted.Swap(false) {
		return byNotify
	}
	return byPoll
}

// claim takes what fits into the free slots.
func (s *Supervisor) claim(authority context.Context, by string) {
	held := s.Held()
	if held >= s.config.Slots {
		return
	}
	ctx, cancel := context.WithTimeout(authority, queryTimeout)
	defer cancel()
	soon := s.soon(held)
	claims, err := s.store.ClaimIfFree(ctx, s.me, s.config.Slots-held, s.balance.share(held), soon)
	if err != nil {
		s.complain(authority, "sessions could not be claimed", err)
		return
	}
	if len(claims) >= soon { // there may be more, once these are on their way
		s.again.Reset(claimAgain)
	}
	s.beginAll(authority, by, claims)
}

func (s *Supervisor) beginAll(authority context.Context, by string, claims []store.Claim) {
	for _, c := range claims {
		s.observer.Claimed(by, c.Waited)
		s.begin(authority, c)
	}
}

// passOnChanges tells runners what users ask for.
func (s *Supervisor) passOnChanges(authority context.Context) {
	if s.Held() == 0 {
		return
	}
	ctx, cancel := context.WithTimeout(authority, queryTimeout)
	defer cancel()
	changes, err := s.store.ChangesHeld(ctx, s.me)
	if err != nil {
		s.complain(authority, "changes could not be read", err)
		return
	}
	for _, c := range changes {
		if t := s.term(c.ID); t != nil {
			t.tell(c)
		}
	}
}

// findOrphans is for connectors that died and the backstop for jobs that got lost.
func (s *Supervisor) findOrphans(authority context.Context) {
	ctx, cancel := context.WithTimeout(authority, queryTimeout)
	defer cancel()
	found, err := s.store.EnqueueOrphans(ctx)
	if err != nil {
		s.complain(authority, "orphans could not be looked for", err)
		return
	}
	for _, e := range found.Ended {
		s.log.Info("term of a dead connector ended", "session", string(e.ID), "epoch", int64(e.Epoch), "reason", "NOT_WANTED", "from", string(e.From))
	}
	if found.Jobs > 0 {
		s.log.Info("found sessions without a holder", "count", found.Jobs)
		poke(s.claimSoon)
	}
}

// lookAround finds by itself what hints may not have told, and looks for orphans
// as soon as a lease has passed. It is cheap enough for every poll, which a look
// for orphans is not.
func (s *Supervisor) lookAround(authority context.Context) {
	ctx, cancel := context.WithTimeout(authority, queryTimeout)
	defer cancel()
	seen, err := s.store.LookAround(ctx, s.me)
	if err != nil {
		s.complain(authority, "the database could not be looked at", err)
		return
	}
	if seen.Deaths {
		s.findOrphans(authority)
	}
	if seen.Jobs {
		s.claim(authority, byPoll)
	}
	if seen.Changes {
		s.passOnChanges(authority)
	}
}

// giveBackStrays releases sessions that the database gave to this connector and
// nobody runs: a claim's answer may be lost after the claim was written.
func (s *Supervisor) giveBackStrays(authority context.Context) {
	ctx, cancel := context.WithTimeout(authority, queryTimeout)
	defer cancel()
	terms, err := s.store.TermsHeld(ctx, s.me)
	if err != nil {
		s.complain(authority, "strays could not be looked for", err)
		return
	}
	for _, t := range terms {
		if held := s.term(t.ID); held != nil && held.claim.Epoch == t.Epoch {
			continue
		}
		s.log.Warn("giving back a session that was claimed and never run", "session", string(t.ID), "epoch", int64(t.Epoch))
		// A term that ended since the look is released already: refused.
		if err := s.reporter.Release(ctx, store.Report{Term: t, State: session.Starting}); err != nil && !errors.Is(err, session.ErrFenced) {
			s.complain(authority, "a stray could not be released", err)
		}
	}
}

func (s *Supervisor) complain(authority context.Context, what string, err error) {
	if authority.Err() == nil {
		s.log.Warn(what+"; trying again", "error", err.Error())
	}
}

// ownersLog is for changes of a session's owner. Operators need them all, so the
// level that a user sets for the session does not count.
func (s *Supervisor) ownersLog(c store.Claim) *slog.Logger {
	return s.log.With("session", string(c.ID), "epoch", int64(c.Epoch))
}

// logFor is a logger with a session's own level.
func (s *Supervisor) logFor(c store.Claim, level *slog.LevelVar) *slog.Logger {
	level.Set(telemetry.Level(c.Config.Config.Log.Level))
	return telemetry.WithLevel(s.log, level).With("session", string(c.ID), "epoch", int64(c.Epoch))
}
