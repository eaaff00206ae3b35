package chaos

import (
	"context"
	"sync"
	"syscall"
	"time"

	"github.com/wafleet/wafleet/shared/session"
	"github.com/wafleet/wafleet/shared/wasim"
)

// driver does what is planned.
type driver struct {
	*fleet
	watch *watch

	mu    sync.Mutex
	count map[kind]int               // guarded by mu
	left  map[string][]time.Duration // guarded by mu; how long processes took to leave, by program
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
	d.acceptLogins()
}

// acceptLogins takes back the refusals that no login has met yet.
func (d *driver) acceptLogins() {
	for _, s := range d.sessions {
		s.mu.Lock()
		jid := s.jid
		s.mu.Unlock()
		if jid != "" {
			_ = d.sim.FailLogin(jid, 0, 0) // the device may be unlinked
		}
	}
}

func (d *driver) do(ctx context.Context, s step) {
	d.say("%s", s)
	switch s.where {
	case "process":
		d.toConnector(ctx, d.members[s.member], s)
	case "visitor":
		d.toVisitor(d.members[s.member], s)
	case "database":
		d.toLinks(s, s.kind, d.members[s.member].database)
	case "whatsapp":
		d.toLinks(s, s.kind, d.members[s.member].whatsapp)
	case "databases", "whatsapps":
		d.toEveryLink(s)
	case "postgres":
		d.toPostgres(ctx, s)
	case "api":
		d.toFunction(d.api, s)
	case "sweep":
		d.toFunction(d.sweep, s)
	case "everything":
		d.toAll(s)
	default:
		d.toSession(ctx, d.sessions[s.name], s)
	}
	d.watch.expectWell(s.kind)
	if s.lasts > 0 {
		d.say("undone: %s", s)
	}
}

func (d *driver) toConnector(ctx context.Context, m *member, s step) {
	m.acting.Lock()
	defer m.acting.Unlock()
	p := m.running()
	if p.endedByItself() {
		m.launch()
		return
	}
	switch s.kind {
	case kill:
		d.watch.expectMoves(p, kill)
		p.kill()
	case killReported:
		d.watch.expectMoves(p, killReported)
		p.kill()
		d.report(ctx, p)
	case replace:
		d.watch.expectMoves(p, replace)
		d.leave(m.program)
	case freeze:
		if s.lasts > d.lease {
			d.watch.expectMoves(p, freeze)
		}
		p.signal(syscall.SIGSTOP)
		time.Sleep(s.lasts)
		p.signal(syscall.SIGCONT)
		return
	}
	time.Sleep(s.lasts)
	m.launch()
}

// reportTimeout is how long a parent tries; the lease passes by itself.
const reportTimeout = 2 * time.Second

// report makes a death known.
func (d *driver) report(ctx context.Context, p *process) {
	ctx, cancel := context.WithTimeout(ctx, reportTimeout)
	defer cancel()
	for _, r := range p.registrations() {
		if err := d.store.EndLease(ctx, session.ConnectorID(r.Connector)); err != nil {
			d.say("the death of %s cannot be reported: %v", p.name, err)
			return
		}
	}
	if _, err := d.store.EnqueueOrphans(ctx); err != nil {
		d.say("the orphans of %s cannot be enqueued: %v", p.name, err)
	}
}

// toVisitor has one more connector for a while. One in three is killed.
func (d *driver) toVisitor(m *member, s step) {
	m.acting.Lock()
	defer m.acting.Unlock()
	m.launch()
	time.Sleep(s.lasts)
	p := m.running()
	switch {
	case p.endedByItself():
	case s.n%3 == 0:
		d.watch.expectMoves(p, kill)
		p.kill()
	default:
		d.watch.expectMoves(p, replace)
		d.leave(m.program)
	}
}

// leave tells what runs in a place to go.
func (d *driver) leave(p *program) {
	took := p.running().leave()
	d.mu.Lock()
	defer d.mu.Unlock()
	d.left[p.binary] = append(d.left[p.binary], took)
}

func (d *driver) toFunction(p *program, s step) {
	p.acting.Lock()
	defer p.acting.Unlock()
	run := p.running()
	switch {
	case run.endedByItself():
	case s.kind == killAPI || s.kind == killSweep:
		run.kill()
	default:
		d.leave(p)
	}
	time.Sleep(s.lasts)
	p.launch()
}

func (d *driver) toLinks(s step, k kind, links ...*faulty) {
	for _, l := range links {
		l.spoil(k)
	}
	time.Sleep(s.lasts)
	for _, l := range links {
		l.mend(k)
	}
}

func (d *driver) toEveryLink(s step) {
	var databases, whatsapps []*faulty
	for _, m := range d.members {
		databases, whatsapps = append(databases, m.database), append(whatsapps, m.whatsapp)
	}
	switch s.kind {
	case cutDatabases:
		d.toLinks(s, cut, databases...)
	case blackDatabases:
		d.toLinks(s, blackHole, databases...)
	case cutWhatsApps:
		d.toLinks(s, cut, whatsapps...)
	case blackWhatsApps:
		d.toLinks(s, blackHole, whatsapps...)
	}
}

func (d *driver) toPostgres(ctx context.Context, s step) {
	if s.kind != resetDatabase {
		d.db.restart(s.kind == crash, s.lasts)
		return
	}
	excused := d.db.excuse()
	_, err := d.db.ExecContext(ctx, `SELECT pg_terminate_backend(pid) FROM pg_stat_activity
		WHERE datname = current_database() AND application_name <> ''`)
	if err != nil && !excused() {
		d.Errorf("%s: %v", s, err)
	}
}

func (d *driver) toAll(s step) {
	var err error
	switch s.kind {
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
	if s.kind != apiDelete {
		d.revive(ctx, to)
	}
	switch s.kind {
	case apiAnew:
		d.restartByAPI(ctx, to)
	case apiUpdate:
		d.update(ctx, to, s.n)
	case apiLogout:
		d.logOut(ctx, to)
		d.say("%s: %v", s, d.scanAgain(ctx, to, phonePatience))
	case apiDelete:
		d.remove(ctx, to)
	case apiRemake:
		d.remove(ctx, to)
		d.revive(ctx, to)
		d.say("%s: %v", s, d.scanAgain(ctx, to, phonePatience))
	case apiStart:
		d.start(ctx, to, "")
	case apiStop:
		d.stop(ctx, to)
	case apiRestart:
		d.stop(ctx, to)
		d.start(ctx, to, "")
	case scan, typeCode:
		d.toPhone(ctx, to, s)
	// The device may be unlinked: errors say so.
	case dropOne:
		_, _ = d.sim.Drop(jid, modes[s.n%len(modes)])
	case silence:
		_, _ = d.sim.Silent(jid, silences[s.n%len(silences)])
	case refuse503:
		to.mu.Lock()
		to.refused++
		to.mu.Unlock()
		_ = d.sim.FailLogin(jid, wasim.ReasonUnavailable, s.n)
		_, _ = d.sim.Drop(jid, wasim.DropFin)
	case logout:
		to.mu.Lock()
		to.unlinked = true
		to.mu.Unlock()
		_ = d.sim.Logout(jid)
	}
}

// phonePatience is how long somebody holds a phone.
const phonePatience = 8 * time.Second

// toPhone lets a phone try to link a session. What is broken meanwhile may keep
// it from that.
func (d *driver) toPhone(ctx context.Context, to *state, s step) {
	d.start(ctx, to, "")
	to.mu.Lock()
	to.scanned = true
	to.mu.Unlock()
	ctx, cancel := context.WithTimeout(ctx, phonePatience)
	defer cancel()
	how := d.link
	if s.kind == typeCode {
		how = d.linkByCode
	}
	d.say("%s: %v", s, how(ctx, to))
}
