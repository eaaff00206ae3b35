package store_test

import (
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/wafleet/wafleet/shared/session"
	"github.com/wafleet/wafleet/shared/store"
)

// model is what must be true of one name, whatever connectors do meanwhile.
type model struct {
	there, running, device bool // device: linked, and not to be unlinked
	id                     session.ID
}

// player is a fleet under random requests, and two connectors that claim, work,
// give back and die.
type player struct {
	*fleet
	*rand.Rand
	model  model
	me     [2]session.ConnectorID
	terms  [2]map[session.ID]*store.Claim
	epochs map[session.ID]session.Epoch
	linked int // devices so far
	done   []string
}

// Requests and connectors take turns at random; the last request wins, no
// session has two holders, no epoch goes back, and in the end nothing is left to
// do.
func TestRandomSequences(t *testing.T) {
	t.Parallel()
	for seed := range uint64(8) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			t.Parallel()
			p := &player{fleet: newFleet(t), Rand: rand.New(rand.NewPCG(seed, 1)), epochs: map[session.ID]session.Epoch{}}
			defer func() {
				if t.Failed() {
					t.Logf("seed %d: %v", seed, p.done)
				}
			}()
			for i := range p.me {
				p.join(i)
			}
			for range 250 {
				if p.IntN(3) == 0 {
					p.ask()
				} else {
					p.act(p.IntN(len(p.me)))
				}
				if p.check(); t.Failed() {
					return
				}
			}
			p.settle()
		})
	}
}

func (p *player) note(format string, args ...any) {
	p.done = append(p.done, fmt.Sprintf(format, args...))
}

func (p *player) join(i int) {
	p.me[i] = p.connector(fmt.Sprint("c", i))
	p.terms[i] = map[session.ID]*store.Claim{}
}

// want is the error that the model expects, nil for none.
func (p *player) want(what string, got, want error) bool {
	p.Helper()
	p.note("%s: %v", what, got)
	if !errors.Is(got, want) || (want == nil) != (got == nil) {
		p.Errorf("%s: %v, want %v, of %+v", what, got, want, p.model)
	}
	return got == nil
}

// unless is the first of the conditions' errors.
func unless(conditions ...any) error {
	for i := 0; i < len(conditions); i += 2 {
		if !conditions[i].(bool) {
			return conditions[i+1].(error)
		}
	}
	return nil
}

// ask makes one request.
func (p *player) ask() {
	m, ctx, by := &p.model, p.Context(), p.actor()
	switch p.IntN(8) {
	case 0, 1:
		active := false
		if found, err := p.Session(ctx, p.tenant, "a"); err == nil {
			status, _ := found.View()
			active = status.Active()
		}
		s, created, err := p.Start(ctx, by, "a", nil, session.DefaultConfig(session.Defaults{}), 0)
		if p.want("start", err, unless(!active, session.ErrActive)) {
			if created == m.there {
				p.Errorf("created %v", created)
			}
			*m = model{there: true, running: true, device: m.there && m.device, id: s.ID}
		}
	case 2:
		if p.want("stop", second(p.Stop(ctx, by, "a")), unless(m.there, session.ErrNotFound, m.running, session.ErrStopped)) {
			m.running = false
		}
	case 3:
		if p.want("restart", second(p.Restart(ctx, by, "a", nil)), unless(m.there, session.ErrNotFound)) {
			m.running = true
		}
	case 4:
		config := session.Stored{Config: session.DefaultConfig(session.Defaults{})}
		p.want("update", second(p.Update(ctx, by, "a", config)), unless(m.there, session.ErrNotFound))
	case 5:
		if p.want("logout", second(p.Logout(ctx, by, "a")), unless(m.there, session.ErrNotFound, m.device, session.ErrNotAuthenticated)) {
			m.device = false
		}
	case 6:
		if p.want("delete", second(p.Delete(ctx, by, "a")), unless(m.there, session.ErrNotFound)) {
			*m = model{}
		}
	case 7:
		run := p.IntN(2) == 0
		made, err := p.Create(ctx, by, "a", session.Stored{Config: session.DefaultConfig(session.Defaults{})}, run, 3)
		if p.want("create", err, unless(!m.there, session.ErrExists)) {
			*m = model{there: true, running: run, id: made.ID}
		}
	}
}

// act lets a connector do something.
func (p *player) act(i int) {
	ctx := p.Context()
	switch p.IntN(7) {
	case 0, 1:
		p.sql(`UPDATE start_job SET available_at = available_at - interval '3 seconds'`)
		p.take(i)
	case 2:
		p.hear(i)
	case 3, 4:
		for _, h := range p.held(i) {
			p.work(i, h)
		}
	case 5:
		for _, h := range p.held(i) { // a drain, or it gave up
			last := report(*h, []session.Status{session.Starting, session.Failed}[p.IntN(2)])
			p.note("%d releases %s as %s", i, short(h.ID), last.State)
			if fenced := must[[]session.ID](p.fleet)(p.ReleaseIfEpoch(ctx, p.me[i], []store.Report{last})); len(fenced) != 0 {
				p.Errorf("the holder is fenced")
			}
			delete(p.terms[i], h.ID)
		}
	case 6:
		if p.IntN(3) == 0 {
			p.die(i)
		}
		p.orphans()
	}
}

// held is the terms of a connector, in an order that the seed decides.
func (p *player) held(i int) []*store.Claim {
	return slices.SortedFunc(maps.Values(p.terms[i]), func(a, b *store.Claim) int { return strings.Compare(string(a.ID), string(b.ID)) })
}

func short(id session.ID) string { return string(id[len(id)-4:]) }

func (p *player) take(i int) {
	for _, c := range p.claim(p.me[i], 10) {
		p.note("%d claims %s %d %+v %q", i, short(c.ID), c.Epoch, c.Wanted, c.JID)
		if c.Epoch <= p.epochs[c.ID] {
			p.Errorf("epoch %d after %d", c.Epoch, p.epochs[c.ID])
		}
		p.epochs[c.ID] = c.Epoch
		for _, terms := range p.terms {
			if terms[c.ID] != nil {
				p.Errorf("%s is claimed from one who lives", c.ID)
			}
		}
		p.terms[i][c.ID] = &c
	}
}

// hear reads what users ask for, and acknowledges it.
func (p *player) hear(i int) {
	for _, c := range must[[]store.Change](p.fleet)(p.ChangesHeld(p.Context(), p.me[i])) {
		h := p.terms[i][c.ID]
		if h == nil || h.Epoch != c.Epoch {
			p.Errorf("a change of %s, which is not held", c.ID)
			continue
		}
		h.Wanted = c.Wanted
		p.note("%d hears %+v", i, c.Wanted)
		if fenced := must[[]session.ID](p.fleet)(p.SetStateIfEpoch(p.Context(), p.me[i], []store.Report{report(*h, session.Starting)})); len(fenced) != 0 {
			p.Errorf("the holder is fenced")
		}
	}
}

// work does what the holder knows to be wanted, as a runner does, or links.
func (p *player) work(i int, h *store.Claim) {
	ctx := p.Context()
	done := func(state session.Status) {
		p.note("%d ends %s as %s", i, short(h.ID), state)
		must[[]session.ID](p.fleet)(p.ReleaseIfEpoch(ctx, p.me[i], []store.Report{report(*h, state)}))
		delete(p.terms[i], h.ID)
	}
	switch {
	case mustUnlink(*h):
		p.note("%d unlinks %s", i, short(h.ID))
		p.setDevice(p.me[i], *h, "", h.Wanted.Generation)
		h.JID, h.Linked = "", h.Wanted.Generation
	case h.Wanted.Deleted:
		p.note("%d erases %s", i, short(h.ID))
		if err := p.EraseIfEpoch(ctx, p.me[i], termOf(*h)); err != nil {
			p.Errorf("erase: %v", err)
		}
		delete(p.terms[i], h.ID)
	case h.Wanted.Desired == session.DesiredStopped:
		done(session.Stopped)
	case h.JID == "":
		p.linked++
		h.JID, h.Linked = fmt.Sprintf("5511999990001:%d@s.whatsapp.net", p.linked), h.Wanted.Generation
		p.note("%d links %s", i, short(h.ID))
		p.setDevice(p.me[i], *h, h.JID, h.Linked)
		if p.model.id == h.ID { // a logout that it has not heard of cannot be: there was no device
			p.model.device = true
		}
	default:
		p.note("%d works on %s", i, short(h.ID))
		must[[]session.ID](p.fleet)(p.SetStateIfEpoch(ctx, p.me[i], []store.Report{report(*h, session.Working)}))
	}
}

// die ends a connector; what it does afterwards counts for nothing.
func (p *player) die(i int) {
	p.note("%d dies", i)
	if err := p.EndLease(p.Context(), p.me[i]); err != nil {
		p.Fatal(err)
	}
	p.orphans()
	dead, terms := p.me[i], p.terms[i]
	p.join(i)
	other := 1 - i
	p.sql(`UPDATE start_job SET available_at = available_at - interval '3 seconds'`)
	p.take(other)
	for id, h := range terms {
		if p.terms[other][id] != nil {
			p.wantFenced(dead, *h)
			p.want("an erase by the dead", p.EraseIfEpoch(p.Context(), dead, termOf(*h)), session.ErrFenced)
		}
	}
}

// check compares what the API shows with the model.
func (p *player) check() {
	found, err := p.Session(p.Context(), p.tenant, "a")
	if errors.Is(err, session.ErrNotFound) == p.model.there {
		p.Errorf("there: %v, want %v", err, p.model.there)
		return
	}
	if err != nil {
		return
	}
	status, _ := found.View()
	if (status == session.Stopped) == p.model.running || (found.Device() != "") != p.model.device || found.ID != p.model.id {
		p.Errorf("shown as %s with %q, want %+v", status, found.Device(), p.model)
	}
}

// settle lets the connectors finish, and nothing may be left to do.
func (p *player) settle() {
	p.die(0)
	for range 8 {
		p.orphans()
		p.sql(`UPDATE start_job SET available_at = available_at - interval '3 seconds'`)
		for i := range p.me {
			p.take(i)
			p.hear(i)
			for _, h := range p.held(i) {
				p.work(i, h)
			}
		}
	}
	p.check()
	want := 0
	if p.model.there {
		want = 1
	}
	for what, query := range map[string]string{
		"sessions": `SELECT count(*) FROM session`, "runs": `SELECT count(*) FROM session_run`, "codes": `SELECT count(*) FROM pairing`,
	} {
		p.wantCount(what, query, want)
	}
	p.wantJobs(0)
	p.wantCount("what must be unlinked", `SELECT count(*) FROM session s JOIN session_run r ON r.session_id = s.id
		WHERE s.unlink_generation > r.linked_generation AND r.jid IS NOT NULL`, 0)
	p.wantCount("held and not wanted", `SELECT count(*) FROM session s JOIN session_run r ON r.session_id = s.id
		WHERE r.holder IS NOT NULL AND s.desired = 'stopped'`, 0)
	if p.model.there && p.model.running {
		if found := must[session.Session](p.fleet)(p.Session(p.Context(), p.tenant, "a")); found.Run.Holder == "" && found.Run.State != session.Failed {
			p.Errorf("nobody holds it: %+v", found.Run)
		}
	}
}
