package e2e

import (
	"testing"
	"time"

	"github.com/wafleet/wafleet/shared/e2e/link"
	"github.com/wafleet/wafleet/shared/session"
)

// TestOneConnectorIsCutOffFromWhatsApp: its sessions say so and stay with it,
// because nobody knows that another would do better; the sessions of the other
// connector go on.
func TestOneConnectorIsCutOffFromWhatsApp(t *testing.T) {
	t.Parallel()
	beside(t, map[string]func(*link.Link){"cut": (*link.Link).Cut, "black hole": (*link.Link).Swallow}, func(t *testing.T, lose func(*link.Link)) {
		s := newSystem(t, options{})
		l := link.New(t, "127.0.0.1:0", s.sim.DialAddr())
		first := s.connector("WHATSAPP_DIAL_ADDR="+l.Address(), "WHATSAPP_KEEPALIVE=1s", "WHATSAPP_KEEPALIVE_DEADLINE=1s")
		s.pair("a", "5511999990531", postgresStart)
		s.pair("b", "5511999990532", documentedStart)
		cutOff := s.get("a").text("assignedWorker")
		second := s.connector("WHATSAPP_KEEPALIVE=1s", "WHATSAPP_KEEPALIVE_DEADLINE=1s")
		other := s.pairElsewhere(cutOff)
		terms, before := s.terms(), s.sim.Stats().Logins

		lose(l)
		lost := time.Now()
		for _, one := range []string{"a", "b"} {
			seen := s.wait(one, session.Starting)
			s.eventually(one+"'s reason", func() bool {
				seen = s.get(one)
				return seen.reason() != ""
			})
			t.Logf("%s is STARTING with %s after %v", one, seen.reason(), time.Since(lost).Round(time.Millisecond))
			switch seen.reason() {
			case session.Reconnecting, session.KeepAlive, session.Unreachable, session.ConnectTimeout:
			default:
				t.Errorf("session %s", seen.body)
			}
		}
		first.waitFor("connection attempt failed")
		if seen := s.get(other); seen.text("status") != "WORKING" || s.sim.Stats().Logins != before {
			t.Errorf("%d logins, and the other connector's session is %s", s.sim.Stats().Logins-before, seen.body)
		}

		l.Restore()
		for _, one := range []string{"a", "b"} {
			s.wait(one, session.Working)
			s.eventually(one+" without a reason", func() bool { return s.get(one).reason() == "" })
		}
		if after := s.terms(); after != terms {
			t.Errorf("held %s before and %s after", terms, after)
		}
		if n := s.sim.Stats().Logins - before; n != 2 {
			t.Errorf("%d logins, want one of each session", n)
		}
		s.invariants(first, second)
	})
}

// pairElsewhere pairs sessions until one of them is on another connector than
// this, and returns its name.
func (s *system) pairElsewhere(worker string) string {
	s.Helper()
	for i := range 10 {
		name, number := "other-"+string(rune('0'+i)), "551199999054"+string(rune('0'+i))
		s.pair(name, number, "")
		if s.get(name).text("assignedWorker") != worker {
			return name
		}
		s.stop(name)
		s.eventually("the end of the socket", func() bool { return !s.connected(number) })
	}
	s.Fatal("every session went to the same connector")
	return ""
}

// connected tells whether a number has an open socket.
func (s *system) connected(number string) bool {
	for _, d := range s.sim.Devices() {
		if d.Number == number && d.Sockets > 0 {
			return true
		}
	}
	return false
}

// terms says who holds what, under which epoch.
func (s *system) terms() string {
	s.Helper()
	return s.text(`SELECT coalesce(string_agg(session_id || ' ' || holder || ' ' || epoch, E'\n' ORDER BY session_id), '') FROM session_run WHERE holder IS NOT NULL`)
}
