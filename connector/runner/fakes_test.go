package runner

import (
	"cmp"
	"context"
	"fmt"
	"strings"
	"sync/atomic"
	"time"

	"github.com/wafleet/wafleet/connector/event"
	"github.com/wafleet/wafleet/shared/session"
	"github.com/wafleet/wafleet/shared/store"
)

// The runner's neighbours, by hand: they write what happens to the world's
// journal and do what its hooks say.

type fakeDevice world

func (f *fakeDevice) Connect(ctx context.Context, jid string, sink func(event.Event)) (Conn, error) {
	w := (*world)(f)
	w.mu.Lock()
	w.dials++
	n := w.dials
	w.sinks = append(w.sinks, sink)
	w.mu.Unlock()
	w.note("dial %d %s", n, cmp.Or(jid, "new"))
	if do := get(w, &w.onDial); do != nil {
		if err := do(ctx, n); err != nil {
			return nil, err
		}
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.open++; w.open > 1 {
		w.Errorf("%d connections are open at once", w.open)
	}
	return &fakeConn{world: w, n: n, ctx: ctx}, nil
}

func (f *fakeDevice) Close() error {
	w := (*world)(f)
	w.note("release")
	if get(w, &w.open) != 0 {
		w.Error("the device store was closed under an open connection")
	}
	return nil
}

func (f *fakeDevice) RefreshVersion(ctx context.Context, refused string) error {
	(*world)(f).note("refresh %s", refused)
	if do := get((*world)(f), &f.onRefresh); do != nil {
		return do(ctx)
	}
	return nil
}

// removes is an operation on the device store, which no connection may use.
func (f *fakeDevice) removes(ctx context.Context, what string, do func(context.Context) error) error {
	w := (*world)(f)
	w.note("%s", what)
	if get(w, &w.open) != 0 {
		w.Errorf("%s under an open connection", what)
	}
	if do == nil {
		return nil
	}
	return do(ctx)
}

func (f *fakeDevice) Forget(ctx context.Context, jid string) error {
	return f.removes(ctx, "delete "+jid, get((*world)(f), &f.onForget))
}

func (f *fakeDevice) Erase(ctx context.Context, jid string) error {
	return f.removes(ctx, "erase "+cmp.Or(jid, "nothing"), get((*world)(f), &f.onForget))
}

type fakeConn struct {
	*world
	n      int
	ctx    context.Context
	closed bool // guarded by world.mu
}

func (c *fakeConn) PairPhone(ctx context.Context, phone session.Phone) (string, error) {
	c.note("phone %s", string(phone))
	if do := get(c.world, &c.onPhone); do != nil {
		return do(ctx)
	}
	return "ABCD-1234", nil
}

func (c *fakeConn) Unlink(ctx context.Context, jid string) error {
	c.note("unlink %s", jid)
	if do := get(c.world, &c.onUnlink); do != nil {
		return do(ctx)
	}
	return nil
}

func (c *fakeConn) Probe(ctx context.Context) bool {
	c.note("probe")
	do := get(c.world, &c.onProbe)
	return do == nil || do(ctx)
}

func (c *fakeConn) Heard() time.Time { return get(c.world, &c.heard) }
func (c *fakeConn) Up() bool         { return !get(c.world, &c.down) }

func (c *fakeConn) Close() {
	c.note("close %d", c.n)
	if do := get(c.world, &c.onClose); do != nil {
		do(c.n)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		c.Errorf("connection %d was closed twice", c.n)
	}
	c.closed = true
	c.open--
}

type fakeStore world

func (f *fakeStore) write(ctx context.Context, what string) error {
	w := (*world)(f)
	w.note("%s", what)
	if get(w, &w.stolen) {
		return session.ErrFenced
	}
	if do := get(w, &w.onWrite); do != nil {
		return do(ctx, what)
	}
	return nil
}

func (f *fakeStore) SetDeviceIfEpoch(ctx context.Context, _ session.ConnectorID, term store.Term, jid string, _ session.Generation) error {
	f.check(term)
	if jid == "" {
		return f.write(ctx, "forget")
	}
	return f.write(ctx, "device "+jid)
}

func (f *fakeStore) PutQRIfEpoch(ctx context.Context, term store.Term, q session.QRCodes) error {
	f.check(term)
	return f.write(ctx, "codes "+strings.Join(q.Codes, " "))
}

func (f *fakeStore) ClearPairingIfEpoch(ctx context.Context, term store.Term) error {
	f.check(term)
	return f.write(ctx, "clear")
}

func (f *fakeStore) AnswerCodeIfEpoch(ctx context.Context, term store.Term, request, code, problem string, life time.Duration) error {
	f.check(term)
	if (code == "") == (problem == "") || (code != "") != (life > 0) {
		f.Errorf("answer %q %q for %v", code, problem, life)
	}
	(*world)(f).set(func() { f.life = life })
	if problem != "" {
		code = "!" + problem
	}
	return f.write(ctx, "answer "+request+" "+code)
}

func (f *fakeStore) StillHeld(ctx context.Context, _ session.ConnectorID, term store.Term) (bool, error) {
	f.check(term)
	w := (*world)(f)
	w.note("epoch?")
	if do := get(w, &w.onWrite); do != nil {
		if err := do(ctx, "epoch?"); err != nil {
			return false, err
		}
	}
	return !get(w, &w.stolen), nil
}

func (f *fakeStore) check(term store.Term) {
	if term != (store.Term{ID: id, Epoch: epoch}) {
		f.Errorf("write for term %v", term)
	}
}

type fakeReporter world

func (f *fakeReporter) Put(r store.Report) {
	w := (*world)(f)
	w.note("%s", showReport(r))
	w.mu.Lock()
	w.reports = append(w.reports, r)
	w.mu.Unlock()
	(*fakeStore)(f).check(r.Term)
	if do := get(w, &w.onReport); do != nil {
		do(r)
	}
}

type fakePacer world

func (f *fakePacer) Wait(ctx context.Context) error {
	if do := get((*world)(f), &f.onPace); do != nil {
		return do(ctx)
	}
	return nil
}

type fakeVersions world

func (f *fakeVersions) Current() string { return f.version }

type fakeObserver world

func (f *fakeObserver) Reconnect(code session.ReasonCode) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.lost = append(f.lost, code)
}
func (f *fakeObserver) StreamError()       { (*world)(f).note("stream error!") }
func (f *fakeObserver) IllegalTransition() { (*world)(f).note("illegal!") }
func (f *fakeObserver) Panic()             { (*world)(f).note("panic!") }

func hangs(ctx context.Context, _ int) error { return untilOver(ctx) }

func unavailable(context.Context, string) error { return session.ErrUnavailable }

// once fails the first write only.
func once(err error) func(context.Context, string) error {
	var writes atomic.Int32
	return func(context.Context, string) error {
		if writes.Add(1) == 1 {
			return err
		}
		return nil
	}
}

func untilOver(ctx context.Context) error {
	<-ctx.Done()
	return fmt.Errorf("%w: %w", session.ErrUnavailable, ctx.Err())
}
