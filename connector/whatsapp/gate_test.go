package whatsapp

import (
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/wafleet/wafleet/shared/session"
)

func openGate() *gate { return newGate(func() error { return nil }) }

func TestTheWaitForAWriteIsBounded(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		fenced error
		lasts  time.Duration // of the write; 0: there is none
		heeds  bool          // ends with its context
		want   time.Duration
		err    error
	}{
		"none is under way":            {want: 0},
		"it finishes":                  {lasts: 3 * time.Second, want: 3 * time.Second},
		"it finishes late":             {lasts: 9 * time.Second, want: 9 * time.Second},
		"it is cancelled":              {lasts: time.Hour, heeds: true, want: writeFinish},
		"it hangs":                     {lasts: time.Hour, want: writeFinish + writeCancel, err: errStillWriting},
		"it is cancelled, fenced":      {fenced: session.ErrFenced, lasts: time.Hour, heeds: true, want: 0},
		"it hangs, fenced":             {fenced: session.ErrFenced, lasts: time.Hour, want: writeCancel, err: errStillWriting},
		"none is under way and fenced": {fenced: session.ErrFenced, want: 0},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				var over error
				g := newGate(func() error { return over })
				var write sync.WaitGroup
				begun := time.Now()
				if tt.lasts > 0 {
					write.Go(func() {
						_ = g.write(context.Background(), func(ctx context.Context) error {
							if !tt.heeds {
								ctx = context.Background()
							}
							select {
							case <-ctx.Done():
							case <-time.After(tt.lasts):
							}
							return nil
						})
					})
				}
				synctest.Wait()
				over = tt.fenced
				if err := g.close(); !errors.Is(err, tt.err) || time.Since(begun) != tt.want {
					t.Errorf("%v after %v, want %v after %v", err, time.Since(begun), tt.err, tt.want)
				}
				write.Wait()
				if err := g.close(); err != nil {
					t.Errorf("closed again when the write is over: %v", err)
				}
			})
		})
	}
}

// TestNoWriteIsInsideOfAClosedGate leaves it to the race detector to see one.
func TestNoWriteIsInsideOfAClosedGate(t *testing.T) {
	t.Parallel()
	g, closed := openGate(), false
	var begun, writers sync.WaitGroup
	for range 8 {
		begun.Add(1)
		first := sync.OnceFunc(begun.Done)
		writers.Go(func() {
			for {
				err := g.write(t.Context(), func(context.Context) error {
					first()
					if closed {
						t.Error("a write in a closed gate")
					}
					return nil
				})
				if errors.Is(err, errTermEnded) {
					return
				}
			}
		})
	}
	begun.Wait()
	if err := g.close(); err != nil {
		t.Error(err)
	}
	closed = true
	writers.Wait()
}

func TestAWriteInsideOfAnotherDoesNotHang(t *testing.T) {
	t.Parallel()
	g := openGate()
	nothing := func(context.Context) error { return nil }
	err := g.write(t.Context(), func(ctx context.Context) error {
		if err := g.write(ctx, nothing); err != nil {
			t.Errorf("before the end: %v", err)
		}
		g.shut()
		if err := g.check(); !errors.Is(err, errTermEnded) {
			t.Errorf("the commit: %v", err)
		}
		return g.write(ctx, nothing)
	})
	if !errors.Is(err, errTermEnded) {
		t.Errorf("after the end: %v", err)
	}
	if err := g.close(); err != nil {
		t.Error(err)
	}
}

func TestAWriteThatPanicsLeavesTheGate(t *testing.T) {
	t.Parallel()
	g := openGate()
	func() {
		defer func() { _ = recover() }()
		_ = g.write(t.Context(), func(context.Context) error { panic("in a write") })
	}()
	if err := g.close(); err != nil {
		t.Error(err)
	}
}

// A write costs nothing but its own work. Not parallel: the count is of the whole process.
func TestTheGateAllocatesNothing(t *testing.T) {
	g, ctx := openGate(), t.Context()
	n := 0
	if got := testing.AllocsPerRun(100, func() {
		_ = g.write(ctx, func(context.Context) error { n++; return nil })
	}); got != 0 || n == 0 {
		t.Errorf("%v allocations for each of %d writes", got, n)
	}
}
