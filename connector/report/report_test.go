package report

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/wafleet/wafleet/shared/session"
	"github.com/wafleet/wafleet/shared/store"
)

func TestAnIdleReporterWritesNothing(t *testing.T) {
	t.Parallel()
	run(t, func(b *bubble) {
		time.Sleep(time.Hour)
		b.want()
	})
}

func TestWhatComesDuringAWriteGoesIntoTheNext(t *testing.T) {
	t.Parallel()
	run(t, func(b *bubble) {
		b.db.then(slow)
		b.Put(report("a", 1, session.Starting))
		b.want("state a:STARTING")
		b.Put(report("a", 1, session.Working))
		b.Put(report("a", 1, session.Failed)) // the newest wins
		b.Put(report("b", 1, session.Working))
		b.want()
		time.Sleep(time.Second)
		b.want("state a:FAILED b:WORKING")
		time.Sleep(time.Hour)
		b.want()
	})
}

func TestAFailedWriteIsTriedAgainWithGrowingPauses(t *testing.T) {
	t.Parallel()
	run(t, func(b *bubble) {
		b.db.then(down)
		b.Put(report("a", 1, session.Working))
		b.want("state a:WORKING")
		for n := 1; n <= 8; n++ {
			began := time.Now()
			for len(b.db.take()) == 0 {
				time.Sleep(time.Millisecond)
			}
			ceiling := min(200*time.Millisecond<<(n-1), 2*time.Second)
			if pause := time.Since(began); pause < ceiling/10 || pause > ceiling+time.Millisecond {
				t.Errorf("pause %d is %v, want up to %v", n, pause, ceiling)
			}
		}
		b.Put(report("b", 1, session.Working)) // must not cut the pause short
		b.want()
		b.db.then(nil)
		time.Sleep(2 * time.Second)
		b.want("state a:WORKING b:WORKING")
		b.Put(report("a", 1, session.Failed))
		b.want("state a:FAILED")
	})
}

func TestAHangingWriteIsGivenUp(t *testing.T) {
	t.Parallel()
	run(t, func(b *bubble) {
		b.db.then(func(ctx context.Context, _ call) ([]session.ID, error) { <-ctx.Done(); return nil, ctx.Err() })
		b.Put(report("a", 1, session.Working))
		b.want("state a:WORKING")
		b.db.then(nil)
		time.Sleep(5*time.Second - 1)
		b.want()
		time.Sleep(time.Second)
		b.want("state a:WORKING")
	})
}

func TestAFailedWriteDoesNotOverwriteNewerStates(t *testing.T) {
	t.Parallel()
	run(t, func(b *bubble) {
		b.db.then(func(ctx context.Context, c call) ([]session.ID, error) { _, _ = slow(ctx, c); return down(ctx, c) })
		b.Put(report("a", 1, session.Starting))
		b.Put(report("b", 1, session.Starting))
		b.want("state a:STARTING b:STARTING")
		b.Put(report("a", 1, session.Working))
		left := b.release(b.ctx, report("b", 1, session.Stopped))
		b.db.then(nil)
		time.Sleep(2 * time.Second)
		b.want("state a:WORKING", "release b:STOPPED")
		if err := <-left; err != nil {
			t.Error(err)
		}
	})
}

func TestTermsThatAreOverAreTold(t *testing.T) {
	t.Parallel()
	run(t, func(b *bubble) {
		b.db.then(func(context.Context, call) ([]session.ID, error) { return []session.ID{"b"}, nil })
		b.Put(report("a", 1, session.Working))
		b.Put(report("b", 7, session.Working))
		synctest.Wait()
		if len(b.fenced) != 1 {
			t.Fatalf("%d terms are over", len(b.fenced))
		}
		if term := <-b.fenced; term != (store.Term{ID: "b", Epoch: 7}) {
			t.Errorf("term %v is over", term)
		}
		b.want("state a:WORKING b:WORKING") // not tried again
	})
}

// The last state goes with the release, and nothing of the term follows it.
func TestAReleaseTakesThePlaceOfStates(t *testing.T) {
	t.Parallel()
	run(t, func(b *bubble) {
		b.db.then(slow)
		b.Put(report("a", 1, session.Starting))
		b.want("state a:STARTING")
		b.Put(report("a", 1, session.Working))
		left := b.release(b.ctx, report("a", 1, session.Stopped))
		b.Put(report("a", 1, session.Failed))
		time.Sleep(time.Second)
		b.want("release a:STOPPED")
		if len(left) != 0 {
			t.Error("returned before it was written")
		}
		time.Sleep(time.Second)
		if err := <-left; err != nil {
			t.Error(err)
		}
		time.Sleep(time.Hour)
		b.want()
	})
}

func TestAReleaseSaysWhatBecameOfIt(t *testing.T) {
	t.Parallel()
	run(t, func(b *bubble) {
		b.db.then(func(context.Context, call) ([]session.ID, error) { return []session.ID{"b"}, nil })
		one, two := b.release(b.ctx, report("a", 1, session.Stopped)), b.release(b.ctx, report("b", 1, session.Stopped))
		if err := <-one; err != nil {
			t.Error(err)
		}
		if err := <-two; !errors.Is(err, session.ErrFenced) || len(b.fenced) != 0 {
			t.Errorf("%v, and %d terms told", err, len(b.fenced))
		}
		b.want("release a:STOPPED", "release b:STOPPED")

		b.db.then(down)
		ctx, cancel := context.WithCancelCause(b.ctx)
		three := b.release(ctx, report("c", 1, session.Stopped))
		cancel(session.ErrLeaseLost)
		if err := <-three; !errors.Is(err, session.ErrLeaseLost) {
			t.Error(err)
		}
		b.want("release c:STOPPED")
		// Nobody waits for it any more; a later term is not its business.
		b.Put(report("c", 2, session.Working))
		four := b.release(b.ctx, report("c", 3, session.Stopped))
		b.db.then(nil)
		if err := <-four; err != nil {
			t.Error(err)
		}
		b.want("release c:STOPPED")
	})
}

// A release whose answer was lost is tried again while the session may be held
// anew; the new term's states are not its business.
func TestAnOldReleaseDoesNotSwallowANewTerm(t *testing.T) {
	t.Parallel()
	run(t, func(b *bubble) {
		b.db.then(down)
		left := b.release(b.ctx, report("a", 1, session.Stopped))
		b.want("release a:STOPPED")
		b.Put(report("a", 2, session.Working))
		b.Put(report("a", 1, session.Working))
		b.db.then(func(_ context.Context, c call) ([]session.ID, error) {
			if c.release {
				return []session.ID{"a"}, nil
			}
			return nil, nil
		})
		time.Sleep(2 * time.Second)
		b.want("state a:WORKING", "release a:STOPPED")
		if err := <-left; !errors.Is(err, session.ErrFenced) {
			t.Error(err)
		}
	})
}

func TestALaterReleaseAnswersTheOlder(t *testing.T) {
	t.Parallel()
	for _, underWay := range []bool{false, true} {
		run(t, func(b *bubble) {
			b.db.then(func(ctx context.Context, c call) ([]session.ID, error) {
				if underWay {
					_, _ = slow(ctx, c)
				}
				return down(ctx, c)
			})
			older := b.release(b.ctx, report("a", 1, session.Stopped))
			later := b.release(b.ctx, report("a", 2, session.Failed))
			time.Sleep(time.Second)
			if err := <-older; !errors.Is(err, session.ErrFenced) {
				t.Error(err)
			}
			b.db.then(nil)
			if err := <-later; err != nil {
				t.Error(err)
			}
		})
	}
}

func TestManyReportsGoInBatches(t *testing.T) {
	t.Parallel()
	run(t, func(b *bubble) {
		b.db.then(slow)
		b.Put(report("first", 1, session.Working))
		b.want("state first:WORKING")
		for i := range 1201 {
			b.Put(report(fmt.Sprint("s", i), 1, session.Working))
			if i < 600 {
				go func() { _ = b.Release(b.ctx, report(fmt.Sprint("r", i), 1, session.Stopped)) }()
			}
		}
		time.Sleep(time.Hour)
		sizes, seen := []int{}, map[session.ID]bool{}
		for _, c := range b.db.take() {
			sizes = append(sizes, len(c.reports))
			for _, r := range c.reports {
				if seen[r.ID] {
					t.Errorf("%s is written twice", r.ID)
				}
				seen[r.ID] = true
			}
		}
		if want := []int{500, 500, 500, 100, 201}; !slices.Equal(sizes, want) || len(seen) != 1801 {
			t.Errorf("batches %v of %d reports, want %v", sizes, len(seen), want)
		}
	})
}

// What one session reports must not keep the others' from being written.
func TestARefusedReportHoldsUpNobodyElse(t *testing.T) {
	t.Parallel()
	run(t, func(b *bubble) {
		b.db.then(slow)
		b.Put(report("first", 1, session.Working))
		b.want("state first:WORKING")
		b.db.then(func(_ context.Context, c call) ([]session.ID, error) {
			for _, r := range c.reports {
				if r.ID == "bad" {
					return nil, errors.New("invalid byte sequence")
				}
			}
			return nil, nil
		})
		for _, id := range []string{"a", "b", "bad", "c"} {
			b.Put(report(id, 1, session.Working))
		}
		left := b.release(b.ctx, report("d", 1, session.Stopped))
		time.Sleep(time.Second)
		if err := <-left; err != nil {
			t.Error(err)
		}
		written := map[session.ID]bool{}
		for _, c := range b.db.take() {
			if len(c.reports) < 4 {
				for _, r := range c.reports {
					written[r.ID] = true
				}
			}
		}
		if len(written) != 5 {
			t.Errorf("tried to write %v", written)
		}
		b.Put(report("bad", 1, session.Failed)) // still the only one that waits
		time.Sleep(time.Second)
		for _, c := range b.db.take() {
			if len(c.reports) != 1 {
				t.Errorf("%d reports were put back", len(c.reports))
			}
		}
		bad := b.release(b.ctx, report("bad", 1, session.Stopped))
		good := b.release(b.ctx, report("e", 1, session.Stopped))
		time.Sleep(2 * time.Second)
		if err := <-good; err != nil || len(bad) != 0 {
			t.Errorf("%v; the bad one is answered: %v", err, len(bad) != 0)
		}
	})
}
