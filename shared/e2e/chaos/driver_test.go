package chaos

import (
	"context"
	"sync"
	"syscall"
	"time"

	"github.com/wafleet/wafleet/shared/wasim"
)

// driver does what is planned.
type driver struct {
	*fleet
	watch *watch

	mu    sync.Mutex
	count map[kind]int    // guarded by mu
	left  []time.Duration // guarded by mu; how long processes took to leave
}

// run does every step at its time and returns when all are undone.
func (d *driver) run(ctx context.Context, steps []step) {
	var doing sync.WaitGroup
	began := time.Now()
	for _, s := range steps {
		time.Sleep(time.Until(began.Add(s.at)))
		if ctx.Err() != nil || d.Failed() && !keepGoing {
			break
		}
		d.mu.Lock()
		d.count[s.kind]++
		d.mu.Unlock()
		doing.Go(func() { d.do(ctx, s) })
	}
	doing.Wait()
}

func (d *driver) do(ctx context.Context, s step) {
	d.say("%s", s)
	switch s.where {
	case "process":
		d.toProcess(d.members[s.member], s)
	case "database", "whatsapp":
		l := d.members[s.member].database
		if s.where == "whatsapp" {
			l = d.members[s.member].whatsapp
		}
		l.spoil(s.kind)
		time.Sleep(s.lasts)
		l.mend(s.kind)
		d.say("mended: %s", s)
	case "everything":
		d.toAll(ctx, s)
	default:
		d.toSession(ctx, d.sessions[s.name], s)
	}
}

func (d *driver) toProcess(m *member, s step) {
	m.acting.Lock()
	defer m.acting.Unlock()
	p := m.running()
	select {
	case <-p.exited: // by itself
		d.Errorf("%s has ended by itself:\n%s", p.name, tail(p.log.String(), 4000))
		m.launch()
		return
	default:
	}
	switch s.kind {
	case kill:
		d.watch.expectMoves(p, kill)
		p.kill()
		time.Sleep(s.lasts)
		m.launch()
	case freeze:
		if s.lasts > d.lease {
			d.watch.expectMoves(p, freeze)
		}
		p.signal(syscall.SIGSTOP)
		time.Sleep(s.lasts)
		p.signal(syscall.SIGCONT)
	case replace:
		d.watch.expectMoves(p, replace)
		took := p.leave()
		d.mu.Lock()
		d.left = append(d.left, took)
		d.mu.Unlock()
		time.Sleep(s.lasts)
		m.launch()
	}
	d.say("undone: %s", s)
}

func (d *driver) toAll(ctx context.Context, s step) {
	var err error
	switch s.kind {
	case resetDatabase:
		_, err = d.db.ExecContext(ctx, `SELECT pg_terminate_backend(pid) FROM pg_stat_activity
			WHERE datname = current_database() AND application_name <> ''`)
	case dropAll:
		_, err = d.sim.Drop("", modes[s.n%len(modes)])
	case refuseAll:
		if err = d.sim.Refuse(refusals[s.n%len(refusals)], 0); err == nil {
			time.Sleep(s.lasts)
			err = d.sim.Refuse(wasim.RefuseOff, 0)
		}
	}
	if err != nil {
		d.Errorf("%s: %v", s, err)
	}
}

var (
	modes    = []wasim.DropMode{wasim.DropFin, wasim.DropRST, wasim.DropClose}
	refusals = []wasim.RefuseMode{wasim.RefuseClose, wasim.RefuseHang, wasim.RefuseHTTP}
	silences = []wasim.SilenceMode{wasim.SilenceMute, wasim.SilenceFreeze}
)

func (d *driver) toSession(ctx context.Context, to *state, s step) {
	to.mu.Lock()
	jid := to.jid
	to.mu.Unlock()
	switch s.kind {
	case apiStart:
		d.start(ctx, to, "")
	case apiStop:
		d.stop(ctx, to)
	case apiRestart:
		d.stop(ctx, to)
		d.start(ctx, to, "")
	case scan:
		d.start(ctx, to, "")
		to.mu.Lock()
		to.scanned = true
		to.mu.Unlock()
		ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
		defer cancel()
		err := d.link(ctx, to)
		d.say("scan %s: %v", to.name, err)
	case dropOne, silence, refuse503, logout: // the device may be unlinked: errors say so
		switch s.kind {
		case dropOne:
			_, _ = d.sim.Drop(jid, modes[s.n%len(modes)])
		case silence:
			_, _ = d.sim.Silent(jid, silences[s.n%len(silences)])
		case refuse503:
			_ = d.sim.FailLogin(jid, wasim.ReasonUnavailable, s.n)
			_, _ = d.sim.Drop(jid, wasim.DropFin)
		case logout:
			to.mu.Lock()
			to.unlinked = true
			to.mu.Unlock()
			_ = d.sim.Logout(jid)
		}
	}
}
