package httpapi_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/wafleet/wafleet/functions/httpapi"
	"github.com/wafleet/wafleet/shared/apikey"
)

// again is a POST that its caller can repeat.
func again(key, path, body string) ask {
	return ask{method: http.MethodPost, path: path, body: body, header: http.Header{"Idempotency-Key": {key}}}
}

const startA = "/api/sessions/a/start"

func (s *service) sql(query string, args ...any) {
	s.Helper()
	if _, err := s.store.DB().Exec(query, args...); err != nil {
		s.Fatal(err)
	}
}

func (s *service) count(query string) (n int) {
	s.Helper()
	if err := s.store.DB().QueryRow(query).Scan(&n); err != nil {
		s.Fatal(err)
	}
	return n
}

func (a answer) isReplay(of answer) {
	a.Helper()
	if a.Header().Get("Idempotency-Replayed") != "true" || a.Code != of.Code || a.Body.String() != of.Body.String() ||
		a.Header().Get("Content-Type") != of.Header().Get("Content-Type") {
		a.Errorf("%d %v %s\nis no replay of %d %s", a.Code, a.Header(), a.Body, of.Code, of.Body)
	}
}

func TestARepeatedRequestGetsTheFirstAnswer(t *testing.T) {
	t.Parallel()
	s := newService(t)
	body := `{"config":{"metadata":{"a":"\"quoted\" <b> & ünïcödé \u2028 😀 \\"}}}`
	first := s.do(again("k", startA, body)).want(http.StatusCreated)
	if first.Header().Get("Idempotency-Replayed") != "" {
		t.Error("the first answer says that it is a replay")
	}
	second := s.do(again("k", "/api//sessions/%61/start/", body))
	second.isReplay(first)
	if ids := []string{first.Header().Get("X-Request-Id"), second.Header().Get("X-Request-Id")}; ids[0] == ids[1] || ids[1] == "" {
		t.Errorf("request ids %v", ids)
	}

	// An error of the caller's is an answer too, and its body keeps the id of the first.
	conflict := s.do(again("k2", startA, "")).want(http.StatusConflict)
	s.post("/api/sessions/a/stop", "").want(http.StatusOK)
	repeated := s.do(again("k2", startA, ""))
	repeated.isReplay(conflict)
	if id := repeated.object()["requestId"]; id != conflict.Header().Get("X-Request-Id") || id == repeated.Header().Get("X-Request-Id") {
		t.Errorf("request id %v in the body", id)
	}
	// Without the header nothing is remembered, and nothing is asked for.
	s.post(startA, "").want(http.StatusOK)
	if n := s.count(`SELECT count(*) FROM idempotency`); n != 2 {
		t.Errorf("%d answers are kept", n)
	}
}

func TestAKeyStandsForOneRequest(t *testing.T) {
	t.Parallel()
	s := newService(t)
	s.do(again("k", startA, `{"a":1}`)).want(http.StatusCreated)
	other := apikey.New()
	s.putKey(other.Reveal(), s.tenant, false)
	for name, one := range map[string]ask{
		"another body":    again("k", startA, `{"a": 1}`),
		"no body":         again("k", startA, ""),
		"another path":    again("k", "/api/sessions/a/stop", `{"a":1}`),
		"another session": again("k", "/api/sessions/b/start", `{"a":1}`),
		"another API key": {method: http.MethodPost, path: startA, body: `{"a":1}`, key: other.Reveal(), header: http.Header{"Idempotency-Key": {"k"}}},
	} {
		a := s.do(one)
		a.wantError(http.StatusUnprocessableEntity, httpapi.CodeKeyReused)
		if a.Header().Get("Idempotency-Replayed") != "" {
			t.Errorf("%s: %v", name, a.Header())
		}
	}
	_, theirs := s.newTenant("other")
	mine := again("k", startA, `{"a":1}`)
	mine.key = theirs.Reveal()
	s.do(mine).want(http.StatusCreated)
	if a := s.do(mine); a.Header().Get("Idempotency-Replayed") != "true" {
		t.Errorf("another tenant's replay: %d %s", a.Code, a.Body)
	}
	if rows := s.rows(); rows["session"] != 2 {
		t.Errorf("rows %v", rows)
	}
}

func TestConcurrentRepeatsRunOnce(t *testing.T) {
	t.Parallel()
	const n = 50
	s := newService(t)
	s.get("/api/sessions").want(http.StatusOK) // the key is known from here on
	answers := make([]answer, n)
	ready := make(chan struct{})
	var all sync.WaitGroup
	for i := range n {
		all.Go(func() {
			<-ready
			answers[i] = s.do(again("k", startA, documentedBody))
		})
	}
	close(ready)
	all.Wait()
	count := map[string]int{}
	for _, a := range answers {
		switch {
		case a.Code == http.StatusCreated && a.Header().Get("Idempotency-Replayed") == "":
			count["ran"]++
		case a.Code == http.StatusCreated:
			count["replayed"]++
		default:
			a.wantError(http.StatusConflict, httpapi.CodeInProgress)
			if a.Header().Get("Retry-After") != "1" {
				t.Errorf("%v", a.Header())
			}
			count["refused"]++
		}
	}
	if count["ran"] != 1 || count["replayed"]+count["refused"] != n-1 {
		t.Errorf("%v", count)
	}
	if generation := s.count(`SELECT generation FROM session`); generation != 1 {
		t.Errorf("started %d times", generation)
	}
	t.Log(count)
}

// TestAnAnswerThatWasLost: the caller has gone before the deed is done, and asks
// again. A row lock keeps the request back until it has gone.
func TestAnAnswerThatWasLost(t *testing.T) {
	t.Parallel()
	for name, lock := range map[string]string{
		"in the deed":  `SELECT FROM session FOR UPDATE`,
		"in the claim": `SELECT FROM idempotency FOR UPDATE`,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newService(t)
			s.start("a")
			s.do(again("k", "/api/sessions/a/stop", "")).want(http.StatusOK)
			s.sql(`UPDATE idempotency SET expires_at = now()`)
			s.loseAnswer(t, lock)
			lost := s.do(again("k", startA, "")).want(http.StatusOK)
			if lost.Header().Get("Idempotency-Replayed") != "true" || lost.object()["message"] != "Session started successfully" {
				t.Errorf("%v %s", lost.Header(), lost.Body)
			}
			if generation := s.count(`SELECT generation FROM session`); generation != 3 {
				t.Errorf("generation %d", generation)
			}
		})
	}
}

// loseAnswer sends a start, leaves while it waits for the lock, and returns when
// its answer is kept.
func (s *service) loseAnswer(t *testing.T, lock string) {
	t.Helper()
	left := make(chan struct{})
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		context.AfterFunc(r.Context(), func() { close(left) })
		s.ServeHTTP(w, r)
	}))
	defer server.Close()
	tx, err := s.store.DB().Begin()
	if err != nil {
		t.Fatal(err)
	}
	defer tx.Rollback()
	if _, err := tx.Exec(lock); err != nil {
		t.Fatal(err)
	}
	conn, err := net.Dial("tcp", server.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	fmt.Fprintf(conn, "POST %s HTTP/1.1\r\nHost: x\r\napikey: %s\r\nIdempotency-Key: k\r\nContent-Length: 0\r\n\r\n", startA, s.key.Reveal())
	eventually(t, "the request waits", func() bool {
		return s.count(`SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'`) > 0
	})
	conn.Close()
	<-left
	if err := tx.Rollback(); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the answer is kept", func() bool {
		return s.count(`SELECT count(status) FROM idempotency WHERE expires_at > now()`) == 1
	})
}

// eventually polls what is outside of the test.
func eventually(t *testing.T, what string, is func() bool) {
	t.Helper()
	deadline := time.Now().Add(20 * time.Second)
	for !is() {
		if time.Now().After(deadline) {
			t.Fatalf("not in time: %s", what)
		}
		time.Sleep(2 * time.Millisecond)
	}
}

func TestAnOldAnswerIsForgotten(t *testing.T) {
	t.Parallel()
	s := newService(t)
	s.do(again("k", startA, "")).want(http.StatusCreated)
	s.sql(`UPDATE idempotency SET expires_at = now()`)
	s.do(again("k", startA, "")).wantError(http.StatusConflict, httpapi.CodeSessionActive) // it ran again
	s.sql(`UPDATE idempotency SET expires_at = now()`)
	s.do(again("k", "/api/sessions/a/stop", "")).want(http.StatusOK) // the key is free for anything
}

// TestAClaimOfTheDeadLapses: a process that claimed a key and never answered
// holds it for a minute.
func TestAClaimOfTheDeadLapses(t *testing.T) {
	t.Parallel()
	s := newService(t)
	s.do(again("k", startA, "")).want(http.StatusCreated)
	s.sql(`UPDATE idempotency SET status = NULL, content_type = NULL, body = NULL, expires_at = now() + interval '60 seconds'`)
	a := s.do(again("k", startA, ""))
	a.wantError(http.StatusConflict, httpapi.CodeInProgress)
	if a.Header().Get("Retry-After") != "1" {
		t.Errorf("%v", a.Header())
	}
	s.sql(`UPDATE idempotency SET expires_at = expires_at - interval '60 seconds'`)
	first := s.do(again("k", startA, ""))
	first.wantError(http.StatusConflict, httpapi.CodeSessionActive) // what the dead one did is there
	s.do(again("k", startA, "")).isReplay(first)
}

func TestIdempotencyKeysThatAreNone(t *testing.T) {
	t.Parallel()
	s := newService(t)
	for _, values := range [][]string{{""}, {strings.Repeat("k", 256)}, {"a\tb"}, {"a\nb"}, {"\x00"}, {"ü"}, {"\x7f"}, {"a", "b"}, {"a", "a"}} {
		a := s.do(ask{method: http.MethodPost, path: startA, header: http.Header{"Idempotency-Key": values}})
		body := a.wantError(http.StatusBadRequest, httpapi.CodeInvalidRequest)
		if fields := fieldsOf(body); len(fields) != 1 || fields[0] != "Idempotency-Key" {
			t.Errorf("%q: %s", values, a.Body)
		}
	}
	if rows := s.rows(); rows["session"] != 0 || s.count(`SELECT count(*) FROM idempotency`) != 0 {
		t.Errorf("rows %v", rows)
	}
	for _, key := range []string{strings.Repeat("k", 255), `"'; DROP TABLE idempotency; --`, "a b", "~!@#$%^&*()"} {
		s.do(again(key, startA, "")).want(s.do(again(key, startA, "")).Code)
	}
	s.do(ask{path: "/api/sessions", header: http.Header{"Idempotency-Key": {""}}}).want(http.StatusOK) // of no meaning on a GET
	s.do(again("", "/api/sendText", "")).wantError(http.StatusNotImplemented, httpapi.CodeNotImplemented)
	s.do(ask{method: http.MethodPost, path: startA, noKey: true, header: http.Header{"Idempotency-Key": {""}}}).wantError(http.StatusUnauthorized, httpapi.CodeKeyMissing)
}

// A pairing code is a credential: it is never kept, and asking again is harmless.
func TestAPairingCodeIsNotKept(t *testing.T) {
	t.Parallel()
	s := newService(t)
	s.start("a")
	h := s.hold()
	h.showQR("2@code")
	for _, code := range []string{"ABCD-1234", "EFGH-5678"} {
		done := make(chan struct{})
		go func() { defer close(done); h.answerNext(code, "") }()
		a := s.do(again("k", requestCode, `{"phone":"5511999999999"}`)).want(http.StatusOK)
		<-done
		if a.object()["code"] != code || a.Header().Get("Idempotency-Replayed") != "" {
			t.Errorf("%v %s", a.Header(), a.Body)
		}
	}
	if n := s.count(`SELECT count(*) FROM idempotency`); n != 0 {
		t.Errorf("%d rows", n)
	}
}

// TestTroubleOfOursIsNotKept: a second try may succeed.
func TestTroubleOfOursIsNotKept(t *testing.T) {
	t.Parallel()
	s := newService(t)
	s.sql(`ALTER TABLE start_job RENAME TO away`)
	s.do(again("k", startA, "")).wantError(http.StatusInternalServerError, httpapi.CodeInternal)
	if n := s.count(`SELECT count(*) FROM idempotency`); n != 0 {
		t.Errorf("%d rows", n)
	}
	s.sql(`ALTER TABLE away RENAME TO start_job`)
	a := s.do(again("k", startA, "")).want(http.StatusCreated)
	s.do(again("k", startA, "")).isReplay(a)
}

// TestASuccessThatCannotBeKeptIsASuccess: the row is gone from under the claim,
// or refuses the answer.
func TestASuccessThatCannotBeKeptIsASuccess(t *testing.T) {
	t.Parallel()
	s := newService(t)
	s.sql(`ALTER TABLE idempotency ADD CONSTRAINT broken CHECK (status IS NULL)`)
	s.do(again("k", startA, "")).want(http.StatusCreated)
	if log := s.log.String(); !strings.Contains(log, "could not be settled") {
		t.Errorf("log %s", log)
	}
	s.do(again("k", startA, "")).wantError(http.StatusConflict, httpapi.CodeInProgress)
	s.sql(`ALTER TABLE idempotency RENAME TO away`)
	s.do(again("k2", "/api/sessions/b/start", "")).wantError(http.StatusInternalServerError, httpapi.CodeInternal)
	if n := s.count(`SELECT count(*) FROM session`); n != 1 {
		t.Error("a request ran without a claim")
	}
	s.post("/api/sessions/b/start", "").want(http.StatusCreated) // who does not use it does not need it
}

// TestAReplayIsCompressedForItsOwnCaller: what is kept is the answer itself, not
// what the first caller's connection made of it.
func TestAReplayIsCompressedForItsOwnCaller(t *testing.T) {
	t.Parallel()
	s := newService(t)
	body, err := json.Marshal(map[string]any{"config": map[string]any{"metadata": map[string]string{"a": strings.Repeat("x", 1000), "b": strings.Repeat("y", 1000)}}})
	if err != nil {
		t.Fatal(err)
	}
	zipped := again("k", startA, string(body))
	zipped.header.Set("Accept-Encoding", "gzip")
	first := s.do(zipped).want(http.StatusCreated)
	plain := s.do(again("k", startA, string(body))).want(http.StatusCreated)
	if got := plain.Body.String(); got != unzip(t, first) || plain.Header().Get("Content-Encoding") != "" {
		t.Errorf("%v %s", plain.Header(), got)
	}
	if got := unzip(t, s.do(zipped)); got != plain.Body.String() {
		t.Errorf("%s", got)
	}
}
