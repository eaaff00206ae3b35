package e2e

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/wafleet/wafleet/shared/e2e/bootstrap"
)

// What the fleet aims at; session.NoCapacityAfter is the API's.
const (
	aimCrash    = 20 * time.Second // a lease of 15 s, and then a claim and a login
	aimReported = 6 * time.Second
	aimGap      = 1500 * time.Millisecond
	aimDrain    = 30 * time.Second
)

// BenchmarkFleet measures how a fleet of three connectors in production's
// configuration carries 500 linked sessions through deaths, drains and a
// deployment, and starts in storms. It fails where an invariant is broken; how
// fast it is goes into the table. Times are the simulator's.
func BenchmarkFleet(b *testing.B) {
	if bootstrap.Race() {
		b.Skip("the race detector would be measured")
	}
	t := newTable()
	b.Cleanup(t.print)
	b.Run("moves", func(b *testing.B) { benchMoves(b, t) })
	b.Run("storm", func(b *testing.B) { benchStorm(b, t) })
	b.Run("full", func(b *testing.B) { benchFull(b, t) })
}

func benchMoves(b *testing.B, t *table) {
	f := newFleet(b, t, 500)
	defer f.end()
	defer f.invariants(b)
	f.replaceAll(3, calm, still)
	f.crash(b, false)
	f.replaceAll(3, calm, still)
	f.crash(b, true)
	f.replaceAll(3, calm, still)
	f.zombie(b)
	f.replaceAll(2, calm, still, fmt.Sprint("SLOTS=", f.sessions/2))
	f.drain(b)
	f.replaceAll(3, calmBalanced)
	f.roll(b)
	f.grow(b)
	b.ReportMetric(0, "ns/op")
}

// crash kills the fullest of three and measures until its sessions are logged in again.
func (f *fleet) crash(b *testing.B, reported bool) {
	b.Helper()
	victim := f.fullest()
	devices, since := f.devicesOf(victim), f.sim.LastSeq()
	name, aim := "crash that nobody reports, lease 15 s", aimCrash
	if reported {
		name, aim = "crash that is reported at once", aimReported
	}
	f.say("%s: a connector with %d sessions is killed", name, len(devices))
	killed := time.Now()
	victim.kill()
	if reported {
		if err := f.store.EndLease(b.Context(), victim.id); err != nil {
			b.Fatal(err)
		}
	}
	f.forget(victim)
	f.quiet(calm)
	logins := loginsIn(f.sim.Events(), since)
	took := make([]time.Duration, 0, len(devices))
	for _, device := range devices {
		if at, ok := logins[device]; ok {
			took = append(took, at.Sub(killed))
		}
	}
	s := spreadOf(took)
	f.say("back after %v, now %v", s, f.shares())
	f.row(name+": until logged in", s, "p99 <= "+seconds(aim), s.p99 <= aim)
	f.invariant(b, name+": sessions back", fmt.Sprint(s.n), fmt.Sprint(len(devices)), s.n == len(devices))
}

// frozenFor is how long a zombie is away: twice as long as its lease.
const frozenFor = 30 * time.Second

// zombie freezes the fullest of three, lets the others take over, and thaws it: it
// may send nothing and change nothing of a device.
func (f *fleet) zombie(b *testing.B) {
	b.Helper()
	frozen := f.fullest()
	devices, since, late := f.devicesOf(frozen), f.sim.LastSeq(), f.sim.Stats().LateFrames
	f.say("zombie: a connector with %d sessions is frozen for %s", len(devices), seconds(frozenFor))
	frozen.signal(syscall.SIGSTOP)
	began := time.Now()
	last := f.quietOnce(calm, func() bool {
		logins := loginsIn(f.sim.EventsSince(since), since)
		return time.Since(began) >= frozenFor && !slices.ContainsFunc(devices, func(device string) bool { return logins[device].IsZero() }) &&
			f.rows(`SELECT count(*) FROM session_run WHERE state = 'WORKING' AND holder <> '`+string(frozen.id)+`'`) == f.sessions
	})
	before := f.deviceRows()
	f.say("the last of them is back after %s; thawed, with %d rows of devices", seconds(last.Sub(began)), len(before))
	frozen.signal(syscall.SIGCONT)
	thawed := time.Now()
	frozen.id = frozen.restarted(frozen.id)
	f.quiet(calm)
	moved := differences(before, f.deviceRows())
	sent := f.sim.Stats().LateFrames - late
	f.say("back under another id, quiet after %s, now %v", seconds(time.Since(thawed)), f.shares())
	f.invariant(b, fmt.Sprintf("zombie of %d sessions: moved ratchets, rows of devices that differ", len(devices)), fmt.Sprintf("%d of %d", len(moved), len(before)), "0", len(moved) == 0)
	f.invariant(b, "zombie: frames sent after the thaw", fmt.Sprint(sent), "0", sent == 0)
	if len(moved) > 0 {
		b.Logf("rows that differ:\n%s", strings.Join(moved[:min(len(moved), 10)], "\n"))
	}
}

// differences are the lines that only one of two lists has.
func differences(a, b []string) (only []string) {
	seen := map[string]int{}
	for _, line := range b {
		seen[line]++
	}
	for _, line := range a {
		if seen[line] == 0 {
			only = append(only, "- "+line)
		} else {
			seen[line]--
		}
	}
	for line, n := range seen {
		if n > 0 {
			only = append(only, "+ "+line)
		}
	}
	return only
}

// drain lets one of two full connectors leave, when two others share what the
// other one had.
func (f *fleet) drain(b *testing.B) {
	b.Helper()
	stays, goes := f.members[0], f.members[1]
	f.join(still)
	f.join(still)
	f.leave(goes)
	f.quiet(calm)
	f.say("drain: a connector with %d sessions leaves, of %v", len(f.devicesOf(stays)), f.shares())
	held, since := len(f.devicesOf(stays)), f.sim.LastSeq()
	took, code := f.leave(stays)
	f.quiet(calm)
	s := spreadOfGaps(gapsIn(f.sim.Events(), since))
	f.say("left after %s, gaps %v, now %v", seconds(took), s, f.shares())
	f.row(fmt.Sprintf("drain of %d: gap", held), s, "p99 <= "+seconds(aimGap), s.p99 <= aimGap)
	f.row("drain: SIGTERM to exit", text(seconds(took)), "<= "+seconds(aimDrain), took <= aimDrain)
	f.invariant(b, "drain: exit code", fmt.Sprint(code), "0", code == 0)
}

// roll replaces three connectors one after the other, as a deployment does.
func (f *fleet) roll(b *testing.B) {
	b.Helper()
	epochs, since, began := f.epochs(), f.sim.LastSeq(), time.Now()
	for i, old := range append([]*member(nil), f.members...) {
		f.join()
		took, code := f.leave(old)
		f.say("rolling replacement: %d of 3 left after %s with exit code %d, now %v", i+1, seconds(took), code, f.shares())
		f.invariant(b, fmt.Sprintf("rolling replacement: exit code of %d", i+1), fmt.Sprint(code), "0", code == 0)
	}
	replaced := time.Since(began)
	last := f.quiet(calmBalanced)
	s := spreadOfGaps(gapsIn(f.sim.Events(), since))
	most, all := f.movesSince(epochs)
	f.say("gaps %v, now %v", s, f.shares())
	f.row("rolling replacement of 3 of 3: gap", s, "p99 <= "+seconds(aimGap), s.p99 <= aimGap)
	f.figure("rolling replacement: in all", seconds(replaced)+", the last move after "+seconds(last.Sub(began)))
	f.figure("rolling replacement: moves of a session", fmt.Sprintf("mean %.2f, max %d", float64(all)/float64(f.sessions), most))
}

// nothingMoves is how long a join may show no effect before it has none.
const nothingMoves = 30 * time.Second

// grow adds a connector and measures until it has its share.
func (f *fleet) grow(b *testing.B) {
	b.Helper()
	f.say("join: one more than %v", f.shares())
	epochs, since := f.epochs(), f.sim.LastSeq()
	f.join()
	began := time.Now()
	f.eventuallyWithin(fleetPatience, "a move or none", func() bool {
		return time.Since(began) > nothingMoves || len(loginsIn(f.sim.EventsSince(since), since)) > 0
	})
	last := f.quiet(calmBalanced)
	most, all := f.movesSince(epochs)
	shares := f.shares()
	// The share of a claim, see store.ClaimIfFree.
	share := int(math.Ceil(1.1 * float64(f.sessions) / float64(len(f.members))))
	balanced := shares[0] <= share
	if all == 0 {
		f.say("nothing moved within %s", seconds(nothingMoves))
		f.row("join: shares of the connectors", textf("%v, nothing moved within %s", shares, seconds(nothingMoves)), fmt.Sprintf("none above %d", share), balanced)
		return
	}
	s := spreadOfGaps(gapsIn(f.sim.Events(), since))
	f.say("the last moved after %s, gaps %v, now %v", seconds(last.Sub(began)), s, shares)
	f.row("join: shares of the connectors", textf("%v, the last moved after %s", shares, seconds(last.Sub(began))), fmt.Sprintf("none above %d", share), balanced)
	f.row("join: moves", textf("%d, of one session at most %d", all, most), "none twice", most <= 1)
	f.row("join: gap", s, "p99 <= "+seconds(aimGap), s.p99 <= aimGap)
}

// invariants is what held all the time.
func (f *fleet) invariants(b *testing.B) {
	b.Helper()
	stats := f.sim.Stats()
	f.invariant(b, "most sockets of a device at once", fmt.Sprint(stats.MaxSocketsPerDevice), "1", stats.MaxSocketsPerDevice == 1)
	f.invariant(b, "late frames", fmt.Sprint(stats.LateFrames), "0", stats.LateFrames == 0)
	f.invariant(b, "events that the simulator forgot", fmt.Sprint(stats.EventsForgotten), "0", stats.EventsForgotten == 0)
	for _, fault := range [][2]string{{faultEpoch, "epochs that went back"}, {faultStale, "stale writes visible"}, {faultFailed, "sessions FAILED at any time"}} {
		name, faults := fault[1], f.faults(fault[0])
		f.invariant(b, name, fmt.Sprint(len(faults)), "0", len(faults) == 0)
		if len(faults) > 0 {
			b.Logf("%s:\n%s", name, strings.Join(faults[:min(len(faults), 10)], "\n"))
		}
	}
	working := f.rows(`SELECT count(*) FROM session_run WHERE state = 'WORKING'`)
	f.invariant(b, "sessions WORKING in the end", fmt.Sprint(working), fmt.Sprint(f.sessions), working == f.sessions)
}
