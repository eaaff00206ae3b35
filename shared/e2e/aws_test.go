package e2e

import (
	"fmt"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/wafleet/wafleet/shared/session"
)

// longLease is longer than any test: what moves after a death does so because
// somebody has told of it.
const longLease = "LEASE_TTL=10m"

// TestTheSystemAsAWSRunsIt goes once through the life of a fleet, with SQS and
// with SQS out of order, which may make it slower and nothing else.
func TestTheSystemAsAWSRunsIt(t *testing.T) {
	t.Parallel()
	var (
		mu   sync.Mutex
		took = map[stage]time.Duration{} // guarded by mu
	)
	for _, on := range []stage{onAWS, onAWSWithoutSQS} {
		t.Run(string(on), func(t *testing.T) {
			t.Parallel()
			r := newRegion(t, on)
			began := time.Now()
			r.live()
			mu.Lock()
			defer mu.Unlock()
			took[on] = time.Since(began)
		})
	}
	t.Cleanup(func() {
		mu.Lock()
		defer mu.Unlock()
		t.Logf("with SQS %s, without %s", seconds(took[onAWS]), seconds(took[onAWSWithoutSQS]))
	})
}

// region is a system on AWS with three connectors.
type region struct {
	*system
	fleet []*process
	names []string // of the sessions
}

func newRegion(t *testing.T, on stage) *region {
	t.Helper()
	r := &region{system: newSystem(t, options{stage: on})}
	for range 3 {
		r.fleet = append(r.fleet, r.connector(longLease, "REBALANCE_PER_SECOND=0"))
	}
	return r
}

func (r *region) live() {
	r.Helper()
	r.links()
	r.isProtectedWhileItLinks()
	r.loses()
	r.drains()
	r.keepsItsWord()
	r.leaves()
	r.hinted()
	r.nothingLeftOpen(r.fleet)
}

// hinted checks that starts went by way of SQS, and that nothing is left there.
func (r *region) hinted() {
	r.Helper()
	if r.stage != onAWS {
		return
	}
	if sent, polls := r.aws.sqs.Calls("SendMessage"), r.aws.sqs.Calls("ReceiveMessage"); sent < len(r.names) || polls == 0 {
		r.Errorf("%d hints were sent for %d starts, and %d times somebody asked for some", sent, len(r.names), polls)
	}
	r.eventually("an empty queue", func() bool { return len(r.aws.queue.Bodies()) == 0 })
	if dead := r.aws.dead.Bodies(); len(dead) > 0 {
		r.Errorf("dead letters: %q", dead)
	}
}

// links starts sessions of both stores at once, and a phone scans each.
func (r *region) links() {
	r.Helper()
	began := time.Now()
	for i := range 6 {
		name := fmt.Sprint("s", i)
		r.names = append(r.names, name)
		r.start(name, []string{postgresStart, documentedStart}[i%2])
	}
	for _, name := range r.names {
		r.wait(name, session.ScanQRCode)
	}
	r.Logf("%d starts until the last QR code: %s", len(r.names), seconds(time.Since(began)))
	for i, name := range r.names {
		r.scan(name, fmt.Sprint("551199999170", i))
	}
	r.noCodesLeft()
}

// isProtectedWhileItLinks: the task whose session waits for a scan asks not to
// be ended, and no longer than that.
func (r *region) isProtectedWhileItLinks() {
	r.Helper()
	r.eventually("the end of all protection", func() bool { return len(r.aws.ecs.protected()) == 0 })
	r.start("late", "")
	r.wait("late", session.ScanQRCode)
	r.eventually("the protection of the task that links", func() bool { return len(r.aws.ecs.protected()) == 1 })
	if tasks := r.aws.ecs.protected(); len(tasks) == 1 && tasks[0] != r.taskOf("late") {
		r.Errorf("%s is protected, and %s links", tasks[0], r.taskOf("late"))
	}
	r.scan("late", "5511999991709")
	r.names = append(r.names, "late")
	r.eventually("the end of the protection", func() bool { return len(r.aws.ecs.protected()) == 0 })
}

// taskOf is the task that holds a session.
func (r *region) taskOf(name string) string {
	r.Helper()
	return r.text(`SELECT c.task FROM session s JOIN session_run r ON r.session_id = s.id JOIN connector c ON c.id = r.holder WHERE s.name = '` + name + `'`)
}

// loses kills a connector: ECS tells sweep, and its sessions work elsewhere.
func (r *region) loses() {
	r.Helper()
	held := r.get(r.names[0]).text("assignedWorker")
	struck := r.take(held)
	killed := time.Now()
	struck.kill()
	r.workElsewhere(held)
	took := time.Since(killed)
	r.Logf("from the kill to WORKING elsewhere: %s", seconds(took))
	if took > 10*time.Second {
		r.Errorf("the sessions moved after %v", took)
	}
	if alive := r.aws.scheduled()["connectorsAlive"]; alive != 2.0 {
		r.Errorf("sweep counts %v connectors", alive)
	}
}

// drains ends a task as a deployment does.
func (r *region) drains() {
	r.Helper()
	held := r.get(r.names[0]).text("assignedWorker")
	leaving := r.take(held)
	leaving.signal(syscall.SIGTERM)
	if code := leaving.end(); code != 0 {
		r.Errorf("exit code %d", code)
	}
	r.workElsewhere(held)
}

// leaves ends the sessions in every way.
func (r *region) leaves() {
	r.Helper()
	r.stop(r.names[0])
	r.ask(r.names[1], "logout")
	r.wait(r.names[1], session.ScanQRCode)
	for _, name := range r.names {
		r.delete(name)
	}
	r.erased()
	r.nothingLinked()
	r.noCodesLeft()
}

// take returns the connector of an id, which is none of the fleet from now on.
func (r *region) take(id string) *process {
	r.Helper()
	for i, p := range r.fleet {
		if own, _ := p.registered(); string(own) == id {
			r.fleet = append(r.fleet[:i:i], r.fleet[i+1:]...)
			return p
		}
	}
	r.Fatalf("no task runs the connector %q", id)
	return nil
}

// workElsewhere waits until every session works, and none on that connector.
func (r *region) workElsewhere(gone string) {
	r.Helper()
	r.eventually("all at work elsewhere", func() bool {
		for _, name := range r.names {
			if seen := r.get(name); seen.text("status") != string(session.Working) || seen.text("assignedWorker") == gone {
				return false
			}
		}
		return true
	})
}

// TestAStoppedTaskThatIsToldLateEndsNothing: the living have other tasks.
func TestAStoppedTaskThatIsToldLateEndsNothing(t *testing.T) {
	t.Parallel()
	s := newSystem(t, options{stage: onAWS})
	s.connector(longLease).kill()
	s.connector(longLease)
	s.pair("a", "5511999990310", postgresStart)
	held := s.get("a").text("assignedWorker")
	ended := make(chan struct{})
	close(ended)
	<-s.aws.tellOfTheEnd(taskPrefix+fmt.Sprintf("%032x", 1), ended)
	s.wait("a", session.Working)
	if s.get("a").text("assignedWorker") != held || s.liveConnectors() != 1 {
		t.Error("the event has ended a lease of somebody else")
	}
}
