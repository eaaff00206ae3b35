package httpapi_test

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/wafleet/wafleet/shared/session"
	"github.com/wafleet/wafleet/shared/store"
)

// rounds of each race. raceTime bounds them all, whatever else the machine does:
// a deadlock in each round would take more, a second each.
const (
	rounds   = 200
	raceTime = 2 * time.Minute
)

// race is a service with a connector that the test plays.
type race struct {
	*service
	me   session.ConnectorID
	name string // of this round's session
}

// round prepares a session of a name of its own, runs two requests side by side,
// and checks the rows; then and checks what the requests came to.
func runRace(t *testing.T, prepare func(r *race), first, second func(r *race) int, then func(r *race, first, second int)) {
	t.Helper()
	t.Parallel()
	r := &race{service: newService(t), me: session.NewConnectorID("test")}
	connector := store.Connector{ID: r.me, Address: "127.0.0.1:1", Slots: 10 * rounds, Version: "test"}
	if err := r.store.Register(t.Context(), connector, time.Hour); err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	for n := range rounds {
		r.name = fmt.Sprint("s", n)
		prepare(r)
		var a, b int
		var both sync.WaitGroup
		both.Go(func() { a = first(r) })
		both.Go(func() { b = second(r) })
		both.Wait()
		then(r, a, b)
		r.checkRows()
		if t.Failed() {
			t.Fatalf("in round %d: %d and %d", n, a, b)
		}
	}
	if took := time.Since(began); took > raceTime {
		t.Errorf("took %v", took)
	}
}

// request is one of a race's two.
func request(method, verb string) func(r *race) int {
	return func(r *race) int {
		path := "/api/sessions/" + r.name
		if verb != "" {
			path += "/" + verb
		}
		return r.do(ask{method: method, path: path}).Code
	}
}

var (
	starts   = request(http.MethodPost, "start")
	stops    = request(http.MethodPost, "stop")
	restarts = request(http.MethodPost, "restart")
	logsOut  = request(http.MethodPost, "logout")
	deletes  = request(http.MethodDelete, "")
	gets     = request(http.MethodGet, "")
)

func (r *race) count(query string) (n int) {
	r.Helper()
	if err := r.store.DB().QueryRow(query).Scan(&n); err != nil {
		r.Fatal(err)
	}
	return n
}

// checkRows looks for what must be in no database, whoever won.
func (r *race) checkRows() {
	r.Helper()
	if n := r.count(`SELECT (SELECT count(*) FROM session s FULL JOIN session_run r ON r.session_id = s.id FULL JOIN pairing p ON p.session_id = s.id
			WHERE s.id IS NULL OR r.session_id IS NULL OR p.session_id IS NULL)
		+ (SELECT count(*) FROM start_job j LEFT JOIN session s ON s.id = j.session_id WHERE s.id IS NULL)
		+ (SELECT count(*) FROM (SELECT FROM start_job GROUP BY session_id HAVING count(*) > 1) twice)`); n != 0 {
		r.Errorf("%d orphan rows", n)
	}
}

// want checks what is shown, and whether there is a job.
func (r *race) want(status session.Status, jobs int) {
	r.Helper()
	if shown := r.do(ask{path: "/api/sessions/" + r.name}); shown.object()["status"] != string(status) {
		r.Errorf("shown as %s, want %s", shown.Body, status)
	}
	if n := r.count(`SELECT count(*) FROM start_job j JOIN session s ON s.id = j.session_id WHERE s.name = '` + r.name + `'`); n != jobs {
		r.Errorf("%d jobs, want %d", n, jobs)
	}
}

// oneOf checks the codes of two requests of which either may have been first.
func (r *race) oneOf(first, second int, allowed ...[2]int) {
	r.Helper()
	if !slices.Contains(allowed, [2]int{first, second}) {
		r.Errorf("answered %d and %d, want one of %v", first, second, allowed)
	}
}

func (r *race) claim() []store.Claim {
	r.Helper()
	claims, err := r.store.ClaimIfFree(context.Background(), r.me, 10*rounds, 0, 10*rounds)
	if err != nil {
		r.Fatal(err)
	}
	return claims
}

// link claims the session that waits and links a device.
func (r *race) link() {
	r.Helper()
	claims := r.claim()
	if len(claims) != 1 {
		r.Fatalf("claims %+v", claims)
	}
	jid := "5511999990001:" + r.name[1:] + "@s.whatsapp.net"
	if err := r.store.SetDeviceIfEpoch(context.Background(), r.me, term(claims[0]), jid, claims[0].Wanted.Generation); err != nil {
		r.Fatal(err)
	}
}

func term(c store.Claim) store.Term { return store.Term{ID: c.ID, Epoch: c.Epoch} }

// erase plays the connector that finds deleted sessions, held or not, until
// none is left.
func (r *race) erase() {
	r.Helper()
	if _, err := r.store.DB().Exec(`UPDATE start_job j SET available_at = now() - interval '3 seconds' FROM session s WHERE s.id = j.session_id AND s.deleted_at IS NOT NULL`); err != nil {
		r.Fatal(err)
	}
	terms := []store.Term{}
	for _, c := range r.claim() {
		if c.Wanted.Deleted {
			terms = append(terms, term(c))
		}
	}
	changes, err := r.store.ChangesHeld(context.Background(), r.me)
	if err != nil {
		r.Fatal(err)
	}
	for _, c := range changes {
		if c.Wanted.Deleted {
			terms = append(terms, store.Term{ID: c.ID, Epoch: c.Epoch})
		}
	}
	for _, t := range terms {
		if err := r.store.EraseIfEpoch(context.Background(), r.me, t); err != nil {
			r.Error(err)
		}
	}
	if n := r.count(`SELECT count(*) FROM session WHERE deleted_at IS NOT NULL`); n != 0 {
		r.Errorf("%d deleted sessions are left", n)
	}
}

// gone checks that nothing of the session is left once a connector was there.
func (r *race) gone() {
	r.Helper()
	if code := gets(r); code != http.StatusNotFound {
		r.Errorf("read with %d", code)
	}
	r.erase()
}

func stopped(r *race) { starts(r); stops(r) }

func linked(r *race) { starts(r); r.link() }

func TestRaceOfTwoStarts(t *testing.T) {
	runRace(t, func(*race) {}, starts, starts, func(r *race, a, b int) {
		r.oneOf(a, b, [2]int{201, 409}, [2]int{409, 201})
		r.want(session.Starting, 1)
	})
}

func TestRaceOfTwoStartsOfAStoppedSession(t *testing.T) {
	runRace(t, stopped, starts, starts, func(r *race, a, b int) {
		r.oneOf(a, b, [2]int{200, 409}, [2]int{409, 200})
		r.want(session.Starting, 1)
	})
}

func TestRaceOfAStartAndAStop(t *testing.T) {
	runRace(t, stopped, starts, stops, func(r *race, start, stop int) {
		r.oneOf(start, stop, [2]int{200, 200}, [2]int{200, 409})
		if stop == http.StatusOK { // it came second
			r.want(session.Stopped, 0)
		} else {
			r.want(session.Starting, 1)
		}
	})
}

func TestRaceOfARestartAndADelete(t *testing.T) {
	runRace(t, linked, restarts, deletes, func(r *race, restart, remove int) {
		r.oneOf(restart, remove, [2]int{200, 200}, [2]int{404, 200})
		r.gone()
	})
}

func TestRaceOfTwoLogouts(t *testing.T) {
	runRace(t, linked, logsOut, logsOut, func(r *race, a, b int) {
		r.oneOf(a, b, [2]int{200, 409}, [2]int{409, 200})
		r.want(session.Starting, 1) // its holder answers the job
		if shown := r.do(ask{path: "/api/sessions/" + r.name}); shown.object()["authenticated"] != false {
			r.Errorf("shown as %s", shown.Body)
		}
	})
}

func TestRaceOfADeleteAndAClaim(t *testing.T) {
	claims := func(r *race) int { return len(r.claim()) }
	runRace(t, func(r *race) { starts(r) }, deletes, claims, func(r *race, remove, claimed int) {
		r.oneOf(remove, claimed, [2]int{200, 0}, [2]int{200, 1})
		r.gone()
	})
}

func TestRaceOfAStopAndALogout(t *testing.T) {
	runRace(t, linked, stops, logsOut, func(r *race, stop, logout int) {
		r.oneOf(stop, logout, [2]int{200, 200})
		r.want(session.Stopped, 1) // to be unlinked
	})
}

func TestRaceOfADeleteAndAStart(t *testing.T) {
	for name, prepare := range map[string]func(*race){"stopped": stopped, "linked": linked} {
		t.Run(name, func(t *testing.T) {
			runRace(t, prepare, deletes, starts, func(r *race, remove, start int) {
				before := http.StatusOK
				if name == "linked" {
					before = http.StatusConflict
				}
				r.oneOf(remove, start, [2]int{200, before}, [2]int{200, 201})
				if start != http.StatusCreated {
					r.gone()
					return
				}
				r.want(session.Starting, 1)
				deletes(r) // the new one, too
				r.gone()
			})
		})
	}
}
