package store

import (
	"context"
	"errors"
	"slices"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/wafleet/wafleet/shared/session"
)

// poison is a key that no statement survives; other negative ones find the
// database away.
const poison = -1000

var errPoisoned = errors.New("poisoned")

// statements is a gather whose statements end when the test lets them.
type statements struct {
	gather[int, int]
	mu    sync.Mutex
	sizes []int
	end   chan struct{}
}

// double is a statement; it ends with its context too, as a real one does.
func (s *statements) double(ctx context.Context, keys []int) ([]int, error) {
	s.mu.Lock()
	s.sizes = append(s.sizes, len(keys))
	s.mu.Unlock()
	select {
	case <-s.end:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	doubles := make([]int, len(keys))
	for i, key := range keys {
		switch {
		case key == poison:
			return nil, errPoisoned
		case key < 0:
			return nil, session.ErrUnavailable
		}
		doubles[i] = 2 * key
	}
	return doubles, nil
}

// ask asks for a key and, unless its context ended, checks what it is told.
func (s *statements) ask(ctx context.Context, t *testing.T, key int) {
	if got, err := s.do(ctx, key, s.double); ctx.Err() == nil && (err != nil || got != 2*key) {
		t.Errorf("%d is doubled to %d, %v", key, got, err)
	}
}

// finish lets every statement end. Then none runs and nobody waits.
func (s *statements) finish(t *testing.T) {
	t.Helper()
	close(s.end)
	synctest.Wait()
	if s.running != 0 || len(s.waiting) != 0 {
		t.Errorf("%d run and %d wait", s.running, len(s.waiting))
	}
}

func TestCallsThatComeMeanwhileShareAStatement(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := &statements{end: make(chan struct{})}
		const calls = gatherers + gatherMost + 100
		for i := range calls {
			go s.ask(t.Context(), t, i)
			synctest.Wait()
		}
		s.finish(t)
		sum := 0
		for _, n := range s.sizes {
			sum += n
		}
		if sum != calls || slices.Max(s.sizes) > gatherMost || len(s.sizes) > gatherers+3 { // the rest may be two statements'
			t.Errorf("%d calls were statements of %v", calls, s.sizes)
		}
	})
}

// TestWhoLeavesTakesNobodyAlong: neither the caller whose statement serves
// others, nor one that waits for its turn.
func TestWhoLeavesTakesNobodyAlong(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := &statements{end: make(chan struct{})}
		var leave []context.CancelFunc
		for i := range gatherers + 10 {
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			leave = append(leave, cancel)
			go s.ask(ctx, t, i)
			synctest.Wait()
		}
		for _, cancel := range leave[:gatherers+2] { // those that run, the next that runs, and one that waits
			cancel()
			synctest.Wait()
		}
		s.finish(t)
	})
}

func TestAFailedStatementIsEverybodysFailure(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := &statements{end: make(chan struct{})}
		failures := 0
		for range gatherers {
			go s.ask(t.Context(), t, 1)
			synctest.Wait()
		}
		for i := range 5 {
			go func() {
				if _, err := s.do(t.Context(), -1-i, s.double); errors.Is(err, session.ErrUnavailable) {
					s.mu.Lock()
					failures++
					s.mu.Unlock()
				}
			}()
			synctest.Wait()
		}
		s.finish(t)
		if failures != 5 {
			t.Errorf("%d of 5 were told", failures)
		}
	})
}

func TestTheFaultOfOneCallIsItsOwn(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := &statements{end: make(chan struct{})}
		for i := range gatherers + 10 {
			go s.ask(t.Context(), t, i)
			synctest.Wait()
		}
		told := make(chan error, 1)
		go func() {
			_, err := s.do(t.Context(), poison, s.double)
			told <- err
		}()
		synctest.Wait()
		s.finish(t)
		if err := <-told; !errors.Is(err, errPoisoned) {
			t.Errorf("who is at fault is told %v", err)
		}
	})
}
