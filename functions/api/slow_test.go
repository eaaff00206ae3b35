package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/wafleet/wafleet/functions/access"
	"github.com/wafleet/wafleet/functions/control"
	"github.com/wafleet/wafleet/functions/httpapi"
	"github.com/wafleet/wafleet/shared/store"
)

// shortRead stands for readTimeout, so that nobody has to wait for that.
const shortRead = 500 * time.Millisecond

// listener is the program's own server, less patient.
type listener struct {
	address string
	open    atomic.Int64 // connections
}

func listen(t *testing.T) *listener {
	t.Helper()
	opened, err := store.Open(database(t), store.Options{MaxOpen: 4})
	if err != nil {
		t.Fatal(err)
	}
	socket, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l := &listener{address: socket.Addr().String()}
	server := newServer(httpapi.New(control.New(opened, control.Config{SQLiteAvailable: true}), access.New(opened, access.Config{}), httpapi.Config{}), slog.New(slog.DiscardHandler))
	server.ReadTimeout, server.ReadHeaderTimeout = shortRead, shortRead
	server.ConnState = func(_ net.Conn, state http.ConnState) {
		switch state {
		case http.StateNew:
			l.open.Add(1)
		case http.StateClosed:
			l.open.Add(-1)
		}
	}
	ended := make(chan error, 1)
	go func() { ended <- server.Serve(socket) }()
	t.Cleanup(func() {
		if err := drain(server); err != nil {
			t.Error(err)
		}
		<-ended
		opened.Close()
	})
	return l
}

// script is a client that does not keep to the rules: what it sends at once,
// then again and again with a pause.
type script struct {
	name    string
	head    string // with the key, unless noKey
	noKey   bool
	then    string
	pause   time.Duration
	hangUp  bool // says that nothing follows, and waits for the answer
	status  int  // 0: no answer, the connection ends
	code    httpapi.Code
	quickly bool // long before readTimeout
}

const post = "POST /api/sessions/a/start HTTP/1.1\r\nHost: x\r\n"

func TestBodiesThatDoNotCome(t *testing.T) {
	t.Parallel()
	l := listen(t)
	const bad, slow, large = http.StatusBadRequest, http.StatusRequestTimeout, http.StatusRequestEntityTooLarge
	t.Run("all", func(t *testing.T) {
		for _, one := range []script{
			{name: "trickles", head: post + "Content-Length: 1000\r\n\r\n{", then: " ", pause: 20 * time.Millisecond, status: slow, code: httpapi.CodeBodyTimeout},
			{name: "trickles with a key to repeat", head: post + "Idempotency-Key: k\r\nContent-Length: 1000\r\n\r\n{", then: " ", pause: 20 * time.Millisecond, status: slow, code: httpapi.CodeBodyTimeout},
			{name: "announces and is silent", head: post + "Content-Length: 1000\r\n\r\n{}", status: slow, code: httpapi.CodeBodyTimeout},
			{name: "announces more than it sends", head: post + "Content-Length: 1000\r\n\r\n{}", hangUp: true, status: bad, code: httpapi.CodeInvalidRequest, quickly: true},
			{name: "chunks trickle", head: post + "Transfer-Encoding: chunked\r\n\r\n", then: "1\r\n \r\n", pause: 20 * time.Millisecond, status: slow, code: httpapi.CodeBodyTimeout},
			{name: "chunks without end", head: post + "Transfer-Encoding: chunked\r\n\r\n", then: "10000\r\n" + strings.Repeat(" ", 1<<16) + "\r\n", status: large, code: httpapi.CodeBodyTooLarge},
			{name: "no chunk", head: post + "Transfer-Encoding: chunked\r\n\r\nzz\r\n\r\n", status: bad, code: httpapi.CodeInvalidRequest, quickly: true},
			{name: "announces 2 GiB", head: post + "Content-Length: 2147483648\r\n\r\n", then: strings.Repeat(" ", 1<<16), status: large, code: httpapi.CodeBodyTooLarge},
			{name: "a length of words", head: post + "Content-Length: many\r\n\r\n{}", status: bad, quickly: true},
			{name: "a negative length", head: post + "Content-Length: -1\r\n\r\n{}", status: bad, quickly: true},
			{name: "two lengths", head: post + "Content-Length: 2\r\nContent-Length: 3\r\n\r\n{}", status: bad, quickly: true},
			{name: "an odd transfer encoding", head: post + "Transfer-Encoding: gzip\r\n\r\n", status: http.StatusNotImplemented, quickly: true},
			{name: "no key, and a body that never comes", head: post + "Content-Length: 1000\r\n\r\n", noKey: true, status: http.StatusUnauthorized, code: httpapi.CodeKeyMissing, quickly: true},
			{name: "a GET with a body that never comes", head: "GET /ping HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n", noKey: true, status: http.StatusOK, quickly: true},
			{name: "compressed", head: post + "Content-Encoding: gzip\r\nContent-Length: 1000\r\n\r\n\x1f\x8b", status: http.StatusUnsupportedMediaType, code: httpapi.CodeBodyEncoded, quickly: true},
			{name: "headers too large", head: post + "X: " + strings.Repeat("x", 2*maxHeaderBytes) + "\r\n\r\n", status: http.StatusRequestHeaderFieldsTooLarge, quickly: true},
			{name: "headers trickle", head: "POST / HTTP/1.1\r\n", noKey: true, then: "X: y\r\n", pause: 20 * time.Millisecond},
			{name: "silent", noKey: true},
		} {
			t.Run(one.name, func(t *testing.T) {
				t.Parallel()
				one.run(t, l)
			})
		}
	})
	deadline := time.Now().Add(10 * time.Second)
	for l.open.Load() > 0 {
		if time.Now().After(deadline) {
			t.Fatalf("%d connections are held", l.open.Load())
		}
		time.Sleep(time.Millisecond)
	}
}

func (one script) run(t *testing.T, l *listener) {
	conn, err := net.Dial("tcp", l.address)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(20 * time.Second)); err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	head := one.head
	if !one.noKey {
		head = strings.Replace(head, "Host: x\r\n", "Host: x\r\napikey: "+exampleKey+"\r\n", 1)
	}
	_, _ = io.WriteString(conn, head)
	if one.hangUp {
		_ = conn.(*net.TCPConn).CloseWrite()
	}
	stop, stopped := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stopped)
		one.goOn(conn, stop)
	}()
	defer func() { close(stop); conn.Close(); <-stopped }()
	response, err := http.ReadResponse(bufio.NewReader(conn), nil)
	took := time.Since(began)
	if limit := 10 * shortRead; took > limit || one.quickly && took > shortRead*4/5 {
		t.Errorf("took %s", took)
	}
	if one.status == 0 {
		if err == nil {
			t.Errorf("answered %d", response.StatusCode)
		}
		return
	}
	if err != nil {
		t.Fatal(err)
	}
	body, err := io.ReadAll(response.Body)
	if err != nil || response.StatusCode != one.status {
		t.Fatalf("%d %s, error %v", response.StatusCode, body, err)
	}
	var problem struct{ Code httpapi.Code }
	if one.code != "" && (json.Unmarshal(body, &problem) != nil || problem.Code != one.code) {
		t.Errorf("%s", body)
	}
	if !response.Close {
		t.Errorf("the connection stays, with the rest of a body on it: %v", response.Header)
	}
}

// goOn sends until the other side has had enough.
func (one script) goOn(conn net.Conn, stop chan struct{}) {
	for one.then != "" {
		if _, err := fmt.Fprint(conn, one.then); err != nil {
			return
		}
		select {
		case <-stop:
			return
		case <-time.After(one.pause):
		}
	}
}
