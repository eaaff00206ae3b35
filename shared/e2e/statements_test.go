package e2e

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/wafleet/wafleet/shared/pgtest"
	"github.com/wafleet/wafleet/shared/session"
)

// statements is a way to Postgres that notes what every program asks on it, by
// the names that programs give themselves. It reads the wire, so it needs nothing
// of a driver and sees other processes too.
type statements struct {
	relay *relay

	mu    sync.Mutex
	asked map[string][]string // guarded by mu; statements by application_name, in order
}

// countedSystem is a system whose every program goes this way.
func countedSystem(t testing.TB) (*system, *statements) {
	t.Helper()
	c := &statements{asked: map[string][]string{}}
	direct := &system{TB: t, url: pgtest.New(t, migrate)}
	c.relay = direct.relay(func(r *relay, near, far net.Conn) {
		r.copies.Go(func() {
			defer far.Close()
			passStatements(far, near, c.note)
		})
		r.copies.Go(func() {
			defer near.Close()
			io.Copy(near, far)
		})
	})
	t.Cleanup(func() {
		c.relay.listener.Close()
		c.relay.copies.Wait()
	})
	return newSystem(t, options{url: c.relay.through, measured: true}), c
}

// passStatements passes on what a client sends, and notes every statement before
// it does: a start-up message of names and values, then messages of a type, a
// length and a body, as under "Message Formats" in Postgres's documentation. It
// ends where the connection does, or where note does not let a statement pass.
func passStatements(to io.Writer, client io.Reader, note func(program, statement string) (pass bool)) {
	from := bufio.NewReader(client)
	head := make([]byte, 5)
	if _, err := io.ReadFull(from, head[1:]); err != nil {
		return
	}
	start, err := body(from, head[1:])
	if err != nil || !pass(to, head[1:], start) {
		return
	}
	program := ""
	fields := bytes.Split(start[min(4, len(start)):], []byte{0})
	for i := 0; i+1 < len(fields); i += 2 {
		if string(fields[i]) == "application_name" {
			program = string(fields[i+1])
		}
	}
	prepared := map[string]string{}
	for {
		if _, err := io.ReadFull(from, head); err != nil {
			return
		}
		message, err := body(from, head[1:])
		if err != nil {
			return
		}
		asked := ""
		switch fields := bytes.SplitN(message, []byte{0}, 3); head[0] {
		case 'Q':
			asked = string(fields[0])
		case 'P':
			prepared[string(fields[0])] = string(fields[1])
		case 'B':
			asked = prepared[string(fields[1])]
		}
		if asked != "" && !note(program, asked) || !pass(to, head, message) {
			return
		}
	}
}

func pass(to io.Writer, parts ...[]byte) bool {
	_, err := to.Write(slices.Concat(parts...))
	return err == nil
}

// body reads the rest of a message whose length has been read; it counts itself.
func body(from io.Reader, length []byte) ([]byte, error) {
	message := make([]byte, max(4, binary.BigEndian.Uint32(length))-4)
	_, err := io.ReadFull(from, message)
	return message, err
}

func (c *statements) note(program, statement string) (pass bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.asked[program] = append(c.asked[program], statement)
	return true
}

// take returns what was asked since the last time.
func (c *statements) take() map[string][]string {
	c.mu.Lock()
	defer c.mu.Unlock()
	taken := c.asked
	c.asked = map[string][]string{}
	return taken
}

// of returns the statements of the programs with that prefix, without those that
// only begin and end transactions.
func of(asked map[string][]string, program string) (list []string) {
	for name, statements := range asked {
		if strings.HasPrefix(name, program) {
			list = append(list, statements...)
		}
	}
	return slices.DeleteFunc(list, func(statement string) bool {
		word, _, _ := strings.Cut(statement, " ")
		return word == "BEGIN" || word == "COMMIT" || word == "ROLLBACK"
	})
}

// operation is a thing that programs ask Postgres for, how many statements it may
// take at most, and which it took.
type operation struct {
	name      string
	limit     int
	statement []string
}

// countOperations goes through the life of sessions and counts. What connectors
// do by themselves all the time is counted at the end, by the second.
func countOperations(t *testing.T) (counted []operation, perSecond float64) {
	const sessions, lasts = 20, 10 * time.Second
	s, c := countedSystem(t)
	add := func(name string, limit int, statements []string) {
		counted = append(counted, operation{name, limit, statements})
	}
	s.start("first", postgresStart) // the key is looked up, and known from then on
	c.take()
	s.start("a", postgresStart)
	add("start over HTTP", 4, of(c.take(), "e2e"))
	for i := range sessions - 2 {
		s.start(fmt.Sprint("more", i), postgresStart)
	}
	c.take()
	s.connector("LOG_LEVEL=INFO")
	s.eventually("all show a code", func() bool { return s.inState(session.ScanQRCode) == sessions })
	booted := of(c.take(), "wafleet-connector")
	claimed := slices.DeleteFunc(slices.Clone(booted), func(q string) bool { return !strings.Contains(q, claimMark) })
	add(fmt.Sprintf("claim of %d sessions, and polls meanwhile", sessions), 3, claimed)

	s.scan("a", "5511999990001")
	s.eventually("the display name", func() bool { me, _ := s.get("a").fields["me"].(map[string]any); return me["pushName"] != "" })
	s.eventually("the last collection", func() bool { return s.rows(`SELECT count(*) FROM whatsmeow_pre_keys WHERE uploaded`) > 0 })
	s.pass(time.Second) // the rest of the first sync
	pairing := c.take()
	own := slices.DeleteFunc(of(pairing, "wafleet-connector"), func(q string) bool {
		return !strings.HasPrefix(strings.TrimSpace(q), "UPDATE pairing") && !strings.Contains(q, "UPDATE session_run") && !strings.Contains(q, "cleared AS")
	})
	add("pairing", 40, append(of(pairing, "wafleet-devices"), own...))

	s.stop("a")
	s.eventually("the release", func() bool { return s.rows(`SELECT count(*) FROM session_run WHERE holder IS NOT NULL`) == sessions-1 })
	c.take()
	s.start("a", "")
	s.wait("a", session.Working)
	add("login", 4, of(c.take(), "wafleet-devices"))

	s.pass(time.Second)
	c.take()
	s.pass(lasts)
	idle := c.take()
	add(fmt.Sprintf("heartbeats of a connector in %v", lasts), int(lasts/beatAtMost), of(idle, "wafleet-heartbeat"))
	add("device stores of idle sessions", 0, of(idle, "wafleet-devices"))
	return counted, float64(len(of(idle, "wafleet-"))) / lasts.Seconds()
}

// beatAtMost is less than the time between two heartbeats at production's lease.
const beatAtMost = 2 * time.Second

func TestStatementsPerOperation(t *testing.T) {
	t.Parallel()
	counted, idle := countOperations(t)
	for _, o := range counted {
		if len(o.statement) > o.limit || (len(o.statement) == 0) != (o.limit == 0) {
			t.Errorf("%s takes %d statements, at most %d:\n%s", o.name, len(o.statement), o.limit, strings.Join(o.statement, "\n"))
		}
	}
	if idle > 2 {
		t.Errorf("an idle connector takes %.1f statements a second", idle)
	}
}
