package report

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/wafleet/wafleet/shared/session"
	"github.com/wafleet/wafleet/shared/store"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// call is one statement that the fake database has seen.
type call struct {
	release bool
	reports []store.Report // ordered by session
}

// fakeStore is the database: it records statements and does as it is told.
type fakeStore struct {
	mu    sync.Mutex
	calls []call                                            // guarded by mu
	do    func(context.Context, call) ([]session.ID, error) // guarded by mu; nil: everything is written
}

func (f *fakeStore) SetStateIfEpoch(ctx context.Context, _ session.ConnectorID, reports []store.Report) ([]session.ID, error) {
	return f.run(ctx, call{false, sorted(reports)})
}

func (f *fakeStore) ReleaseIfEpoch(ctx context.Context, _ session.ConnectorID, reports []store.Report) ([]session.ID, error) {
	return f.run(ctx, call{true, sorted(reports)})
}

func (f *fakeStore) run(ctx context.Context, c call) ([]session.ID, error) {
	f.mu.Lock()
	f.calls = append(f.calls, c)
	do := f.do
	f.mu.Unlock()
	if do == nil {
		return nil, nil
	}
	return do(ctx, c)
}

func (f *fakeStore) then(do func(context.Context, call) ([]session.ID, error)) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.do = do
}

// take returns the statements since the last call.
func (f *fakeStore) take() []call {
	synctest.Wait()
	f.mu.Lock()
	defer f.mu.Unlock()
	calls := f.calls
	f.calls = nil
	return calls
}

func sorted(reports []store.Report) []store.Report {
	return slices.SortedFunc(slices.Values(reports), func(a, b store.Report) int { return cmp.Compare(a.ID, b.ID) })
}

func report(id string, epoch session.Epoch, state session.Status) store.Report {
	return store.Report{Term: store.Term{ID: session.ID(id), Epoch: epoch}, State: state}
}

// bubble runs a reporter in its own time.
type bubble struct {
	*testing.T
	*Reporter
	db     *fakeStore
	fenced chan store.Term
	cancel context.CancelFunc
	ctx    context.Context
}

func run(t *testing.T, play func(b *bubble)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		b := &bubble{T: t, db: &fakeStore{}, fenced: make(chan store.Term, 10)}
		b.ctx, b.cancel = context.WithCancel(t.Context())
		b.Reporter = New(b.db, "me", slog.New(slog.DiscardHandler), func(term store.Term) { b.fenced <- term })
		done := make(chan error)
		go func() { done <- b.Reporter.Run(b.ctx) }()
		synctest.Wait()
		play(b)
		b.cancel()
		if err := <-done; err != nil {
			t.Errorf("Run: %v", err)
		}
	})
}

// want checks the statements since the last call, each as "state a:WORKING b:FAILED".
func (b *bubble) want(statements ...string) {
	b.Helper()
	var got []string
	for _, c := range b.db.take() {
		text := "state"
		if c.release {
			text = "release"
		}
		for _, r := range c.reports {
			text += fmt.Sprintf(" %s:%s", r.ID, r.State)
		}
		got = append(got, text)
	}
	if !slices.Equal(got, statements) {
		b.Errorf("statements %q\nwant       %q", got, statements)
	}
}

// release calls Release in the background and returns where its result comes.
func (b *bubble) release(ctx context.Context, r store.Report) <-chan error {
	result := make(chan error, 1)
	go func() { result <- b.Release(ctx, r) }()
	synctest.Wait()
	return result
}

func slow(context.Context, call) ([]session.ID, error) {
	time.Sleep(time.Second)
	return nil, nil
}

func down(context.Context, call) ([]session.ID, error) { return nil, session.ErrUnavailable }
