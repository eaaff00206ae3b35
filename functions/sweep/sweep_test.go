package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/wafleet/wafleet/shared/session"
	"github.com/wafleet/wafleet/shared/store"
	"github.com/wafleet/wafleet/shared/telemetry"
)

// fakeFleet fails where it is told to, and says in which order it was asked.
type fakeFleet struct {
	calls []string
	fail  map[string]int // how many times
	old   int            // answers to forget
}

var errDown = fmt.Errorf("%w: down", session.ErrUnavailable)

func (f *fakeFleet) call(name string) error {
	f.calls = append(f.calls, name)
	if f.fail[name] > 0 {
		f.fail[name]--
		return errDown
	}
	return nil
}

func (f *fakeFleet) EndLeaseOfTask(ctx context.Context, task string) ([]session.ConnectorID, error) {
	return []session.ConnectorID{"c"}, f.call("end " + task)
}

func (f *fakeFleet) EnqueueOrphans(ctx context.Context) (store.Orphans, error) {
	if _, bounded := ctx.Deadline(); !bounded {
		return store.Orphans{}, errors.New("nothing bounds the sweep")
	}
	return store.Orphans{Jobs: 2}, f.call("enqueue")
}

func (f *fakeFleet) FleetStatus(context.Context) (store.FleetStatus, error) {
	return store.FleetStatus{Wanted: 3, OldestJob: 1500 * time.Millisecond}, f.call("count")
}

func (f *fakeFleet) ForgetIdempotency(_ context.Context, limit int) (int, error) {
	n := min(limit, f.old)
	f.old -= n
	return n, f.call("forget answers")
}

func (f *fakeFleet) ForgetAudit(_ context.Context, olderThan time.Duration, limit int) (int, error) {
	if olderThan != keep || limit < 100 {
		return 0, fmt.Errorf("forgets %d that are older than %s", limit, olderThan)
	}
	return 7, f.call("forget audit")
}

const keep = 90 * 24 * time.Hour

var silent = slog.New(slog.DiscardHandler)

func TestADeathIsBuriedBeforeTheSweep(t *testing.T) {
	t.Parallel()
	f := &fakeFleet{}
	found, err := sweeper{f, silent, keep}.bury(t.Context(), "task")
	if err != nil || found.LeasesEnded == nil || *found.LeasesEnded != 1 || found.Orphans != 2 || found.Wanted != 3 || found.OldestJobSeconds != 1.5 || found.AuditForgotten != 7 {
		t.Errorf("%+v, error %v", found, err)
	}
	if want := []string{"end task", "enqueue", "count", "forget answers", "forget audit"}; !slices.Equal(f.calls, want) {
		t.Errorf("calls %v, want %v", f.calls, want)
	}
}

// TestTheAuditCanWait: what it cannot forget now fails no sweep.
func TestTheAuditCanWait(t *testing.T) {
	t.Parallel()
	var log strings.Builder
	f := &fakeFleet{fail: map[string]int{"forget audit": 1}}
	found, err := sweeper{f, slog.New(slog.NewTextHandler(&log, nil)), keep}.sweep(t.Context())
	if err != nil || found.Orphans != 2 || !strings.Contains(log.String(), "old entries of the audit were not removed") {
		t.Errorf("%+v, error %v, log %s", found, err, &log)
	}
}

// TestADatabaseThatIsAwayFailsTheEvent: EventBridge delivers it again.
func TestADatabaseThatIsAwayFailsTheEvent(t *testing.T) {
	t.Parallel()
	for _, step := range []string{"end task", "enqueue", "count"} {
		var published strings.Builder
		d := dispatcher{sweeper{&fakeFleet{fail: map[string]int{step: 2}}, silent, keep}, telemetry.NewMetricWriter(&published, "fleet")}
		const death = `{"source":"aws.ecs","detail-type":"ECS Task State Change","detail":{"taskArn":"task","lastStatus":"STOPPED"}}`
		for _, event := range []string{death, `{"source":"aws.scheduler"}`} {
			if step == "end task" && event != death {
				continue
			}
			if answer, err := d.handle(t.Context(), []byte(event)); !errors.Is(err, session.ErrUnavailable) || answer != nil {
				t.Errorf("%s fails, %s: answer %v, error %v", step, event, answer, err)
			}
		}
		if published.Len() > 0 {
			t.Errorf("%s fails, and yet: %s", step, &published)
		}
	}
}

func TestOnlyATaskThatStoppedIsDead(t *testing.T) {
	t.Parallel()
	const change = `{"source":"aws.ecs","detail-type":"ECS Task State Change","detail":{"taskArn":%q,"lastStatus":%q}}`
	for _, status := range []string{"PROVISIONING", "PENDING", "RUNNING", "DEACTIVATING", "STOPPING", "DEPROVISIONING"} {
		f := &fakeFleet{}
		answer, err := dispatcher{sweeper: sweeper{f, silent, keep}}.handle(t.Context(), fmt.Appendf(nil, change, "task", status))
		if want := (ignored{"the task is " + status}); answer != want || err != nil || len(f.calls) != 0 {
			t.Errorf("%s: %v, error %v, calls %v", status, answer, err, f.calls)
		}
	}
	for _, event := range []string{fmt.Sprintf(change, "", "STOPPED"), fmt.Sprintf(change, "task", "")} {
		f := &fakeFleet{}
		if _, err := (dispatcher{sweeper: sweeper{f, silent, keep}}).handle(t.Context(), []byte(event)); !errors.Is(err, errNoTask) || len(f.calls) != 0 {
			t.Errorf("%s: error %v, calls %v", event, err, f.calls)
		}
	}
}

func TestTheLoopGoesOnAfterAFailure(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := &fakeFleet{fail: map[string]int{"enqueue": 2}}
		ctx, cancel := context.WithCancel(t.Context())
		var log strings.Builder
		began, shown := time.Now(), 0
		err := sweeper{f, slog.New(slog.NewTextHandler(&log, nil)), keep}.every(ctx, 30*time.Second, func(summary) error {
			if shown++; shown == 2 {
				cancel()
			}
			return nil
		})
		if err != nil {
			t.Errorf("the end of the loop is an error: %v", err)
		}
		if took := time.Since(began); took < 81*time.Second || took > 99*time.Second { // a tenth of jitter
			t.Errorf("three pauses took %s", took)
		}
		if n := strings.Count(log.String(), "the sweep failed"); n != 2 || shown != 2 {
			t.Errorf("%d failures are logged, %d sweeps shown: %s", n, shown, &log)
		}
	})
}

func TestTheLoopEndsWhereNobodyReads(t *testing.T) {
	t.Parallel()
	broken := errors.New("broken pipe")
	s := sweeper{&fakeFleet{}, silent, keep}
	if err := s.every(t.Context(), time.Hour, func(summary) error { return broken }); !errors.Is(err, broken) {
		t.Errorf("error %v", err)
	}
}

// TestOldAnswersAreRemovedInSteps: a sweep ends, however many there are, and
// their removal fails nothing else.
func TestOldAnswersAreRemovedInSteps(t *testing.T) {
	t.Parallel()
	for old, want := range map[int]struct{ forgotten, steps int }{0: {0, 1}, 999: {999, 1}, 1000: {1000, 2}, 2500: {2500, 3}, 100_000: {20_000, 20}} {
		f := &fakeFleet{old: old}
		found, err := sweeper{f, silent, keep}.sweep(t.Context())
		if steps := len(f.calls) - 3; err != nil || found.Forgotten != want.forgotten || steps != want.steps {
			t.Errorf("%d: %d in %d steps, error %v", old, found.Forgotten, steps, err)
		}
	}
	f := &fakeFleet{fail: map[string]int{"forget answers": 1}}
	var log strings.Builder
	found, err := sweeper{f, slog.New(slog.NewTextHandler(&log, nil)), keep}.sweep(t.Context())
	if err != nil || found.Wanted != 3 || found.Forgotten != 0 || !strings.Contains(log.String(), "were not removed") {
		t.Errorf("%+v, error %v, log %s", found, err, &log)
	}
}
