package e2e

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/wafleet/wafleet/shared/session"
	"github.com/wafleet/wafleet/shared/wasim"
)

func TestLoggedOutFromThePhone(t *testing.T) {
	t.Parallel()
	for name, whileOnline := range map[string]bool{"online": true, "offline": false} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newSystem(t, options{})
			s.connector()
			jid := s.pair("a", "5511999990101", postgresStart)
			if !whileOnline {
				s.stop("a")
				s.eventually("the end of the socket", func() bool { return s.sim.Stats().Open == 0 })
			}
			if err := s.sim.Logout(jid); err != nil {
				t.Fatal(err)
			}
			if !whileOnline {
				s.start("a", "")
			}
			failed := s.wait("a", session.Failed, session.LoggedOut)
			if failed.fields["authenticated"] != false || failed.fields["me"] != nil {
				t.Errorf("session %s", failed.body)
			}
			s.eventually("the removal of the device", func() bool { return s.rows(`SELECT count(*) FROM whatsmeow_device`) == 0 })
			s.start("a", "")
			s.wait("a", session.ScanQRCode)
			s.scan("a", "5511999990102")
		})
	}
}

func TestClientOutdated(t *testing.T) {
	t.Parallel()
	t.Run("a refresh mends it", func(t *testing.T) {
		t.Parallel()
		s := newSystem(t, options{})
		const old, current = "2.3000.1045900000", "2.3000.1045999999"
		if err := s.store.SetClientVersion(t.Context(), old); err != nil {
			t.Fatal(err)
		}
		s.connector()
		s.pair("a", "5511999990111", "")
		if err := s.sim.SetMinVersion(current); err != nil {
			t.Fatal(err)
		}
		seq := s.sim.LastSeq()
		if _, err := s.sim.Drop("", wasim.DropFin); err != nil {
			t.Fatal(err)
		}
		s.simEvent(seq, wasim.EventActive)
		s.wait("a", session.Working)
		if version, _, err := s.store.ClientVersion(t.Context()); err != nil || version != current {
			t.Errorf("the fleet's version is %s %v, want %s", version, err, current)
		}
	})
	t.Run("nothing mends it", func(t *testing.T) {
		t.Parallel()
		s := newSystem(t, options{})
		s.connector()
		s.pair("a", "5511999990113", "")
		if err := s.sim.FailLogin("", wasim.ReasonClientOutdated, -1); err != nil {
			t.Fatal(err)
		}
		if _, err := s.sim.Drop("", wasim.DropFin); err != nil {
			t.Fatal(err)
		}
		s.wait("a", session.Failed, session.ClientOutdated)
		if failures := s.sim.Stats().Failures; failures != 2 {
			t.Errorf("%d refused logins, want the first and one retry", failures)
		}
		if err := s.sim.FailLogin("", 0, 0); err != nil {
			t.Fatal(err)
		}
		s.start("a", "")
		s.wait("a", session.Working)
	})
}

// simEvent waits for something new at the simulator.
func (s *system) simEvent(since uint64, kind wasim.Kind) {
	s.Helper()
	if _, err := s.sim.WaitEventSince(s.Context(), since, func(e wasim.Event) bool { return e.Kind == kind }); err != nil {
		s.Fatal(err)
	}
}

func TestReplacedByAForeignProgram(t *testing.T) {
	t.Parallel()
	s := newSystem(t, options{allowDouble: true})
	s.connector()
	jid := s.pair("a", "5511999990121", "")
	logins := s.sim.Stats().Logins
	if _, err := s.sim.ConnectAs(jid); err != nil {
		t.Fatal(err)
	}
	s.wait("a", session.Failed, session.StreamReplaced)
	s.eventually("the release", func() bool { return s.rows(`SELECT count(*) FROM session_run WHERE holder IS NOT NULL`) == 0 })
	// Two polls later nobody has connected again.
	s.start("other", "")
	s.wait("other", session.ScanQRCode)
	if n := s.sim.Stats().Logins; n != logins {
		t.Errorf("%d logins after the replacement", n-logins)
	}
	s.start("a", "")
	s.wait("a", session.Working)
}

// TestNothingShowsAsWorkingWhileLoginsAreRefused: also not within the grace that
// a lost connection has, from the first refusal on.
func TestNothingShowsAsWorkingWhileLoginsAreRefused(t *testing.T) {
	t.Parallel()
	s := newSystem(t, options{})
	c := s.connector()
	jid := s.pair("a", "5511999990123", postgresStart)
	if err := s.sim.FailLogin(jid, wasim.ReasonUnavailable, -1); err != nil {
		t.Fatal(err)
	}
	seq := s.sim.LastSeq()
	if _, err := s.sim.Drop(jid, wasim.DropFin); err != nil {
		t.Fatal(err)
	}
	s.simEvent(seq, wasim.EventFailure)
	s.wait("a", session.Starting)
	for refused := 1; refused < 4; refused++ {
		if seen := s.get("a"); seen.text("status") != string(session.Starting) || seen.reason() != session.Reconnecting {
			t.Fatalf("after %d refusals: %s", refused, seen.body)
		}
		seq = s.sim.LastSeq()
		s.simEvent(seq, wasim.EventFailure)
	}
	if err := s.sim.FailLogin(jid, 0, 0); err != nil {
		t.Fatal(err)
	}
	s.wait("a", session.Working)
	s.invariants(c)
}

func TestLostConnectionsComeBack(t *testing.T) {
	t.Parallel()
	for name, lose := range map[string]func(*system) error{
		"fin":   func(s *system) error { _, err := s.sim.Drop("", wasim.DropFin); return err },
		"rst":   func(s *system) error { _, err := s.sim.Drop("", wasim.DropRST); return err },
		"close": func(s *system) error { _, err := s.sim.Drop("", wasim.DropClose); return err },
		"503 at the login": func(s *system) error {
			if err := s.sim.FailLogin("", wasim.ReasonUnavailable, 2); err != nil {
				return err
			}
			_, err := s.sim.Drop("", wasim.DropFin)
			return err
		},
		"503 on the stream":    func(s *system) error { _, err := s.sim.StreamError("", "503"); return err },
		"unknown stream error": func(s *system) error { _, err := s.sim.StreamError("", "516"); return err },
		"refused three times": func(s *system) error {
			if err := s.sim.Refuse(wasim.RefuseClose, 3); err != nil {
				return err
			}
			_, err := s.sim.Drop("", wasim.DropFin)
			return err
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newSystem(t, options{})
			s.connector()
			s.pair("a", "5511999990131", postgresStart)
			seq := s.sim.LastSeq()
			if err := lose(s); err != nil {
				t.Fatal(err)
			}
			s.simEvent(seq, wasim.EventActive)
			s.wait("a", session.Working)
			s.eventually("no reason", func() bool { return s.get("a").reason() == "" })
		})
	}
}

func TestSilenceIsNoticed(t *testing.T) {
	t.Parallel()
	for _, mode := range []wasim.SilenceMode{wasim.SilenceMute, wasim.SilenceFreeze} {
		t.Run(string(mode), func(t *testing.T) {
			t.Parallel()
			s := newSystem(t, options{})
			s.connector("WHATSAPP_KEEPALIVE=500ms", "WHATSAPP_KEEPALIVE_DEADLINE=400ms")
			s.pair("a", "5511999990141", "")
			seq := s.sim.LastSeq()
			if err := s.sim.Refuse(wasim.RefuseClose, 1); err != nil { // so that STARTING can be seen
				t.Fatal(err)
			}
			if _, err := s.sim.Silent("", mode); err != nil {
				t.Fatal(err)
			}
			s.eventually("STARTING", func() bool { return s.get("a").text("status") == "STARTING" })
			s.simEvent(seq, wasim.EventActive)
			s.wait("a", session.Working)
		})
	}
}

func TestTemporaryBanEndsByItself(t *testing.T) {
	t.Parallel()
	s := newSystem(t, options{})
	s.connector()
	jid := s.pair("a", "5511999990151", "")
	if err := s.sim.FailLoginWith(jid, wasim.FailOptions{Reason: wasim.ReasonTempBanned, Count: 1, Expire: 3 * time.Second}); err != nil {
		t.Fatal(err)
	}
	if _, err := s.sim.Drop("", wasim.DropFin); err != nil {
		t.Fatal(err)
	}
	failed := s.wait("a", session.Failed, session.TempBan)
	reason, _ := failed.fields["statusReason"].(map[string]any)
	if reason["retryAt"] == nil {
		t.Errorf("no retryAt in %s", failed.body)
	}
	s.wait("a", session.Working)
}

func TestLoginRefusals(t *testing.T) {
	t.Parallel()
	for reason, want := range map[int]session.ReasonCode{
		wasim.ReasonLoggedOut: session.LoggedOut, wasim.ReasonMainDeviceGone: session.LoggedOut, wasim.ReasonUnknownLogout: session.LoggedOut,
	} {
		t.Run(string(want)+"-"+time.Duration(reason).String(), func(t *testing.T) {
			t.Parallel()
			s := newSystem(t, options{})
			s.connector()
			jid := s.pair("a", "5511999990161", "")
			if err := s.sim.FailLogin(jid, reason, 1); err != nil {
				t.Fatal(err)
			}
			if _, err := s.sim.Drop("", wasim.DropFin); err != nil {
				t.Fatal(err)
			}
			s.wait("a", session.Failed, want)
		})
	}
}

func TestWhatsAppIsDownAtTheStart(t *testing.T) {
	t.Parallel()
	s := newSystem(t, options{})
	if err := s.sim.Refuse(wasim.RefuseClose, 0); err != nil {
		t.Fatal(err)
	}
	s.connector()
	s.start("a", "")
	waiting := s.wait("a", session.Starting, session.Unreachable)
	if reason, _ := waiting.fields["statusReason"].(map[string]any); reason["retryAt"] == nil || reason["message"] == "" {
		t.Errorf("session %s", waiting.body)
	}
	if err := s.sim.Refuse(wasim.RefuseOff, 0); err != nil {
		t.Fatal(err)
	}
	s.wait("a", session.ScanQRCode)
	s.scan("a", "5511999990171")
}

func TestASessionsLogLevelIsItsOwn(t *testing.T) {
	t.Parallel()
	s := newSystem(t, options{})
	c := s.connector("LOG_LEVEL=WARN")
	s.start("quiet", `{"config":{"log":{"level":"error"}}}`)
	s.start("loud", `{"config":{"log":{"level":"Debug"}}}`)
	s.wait("quiet", session.ScanQRCode)
	s.wait("loud", session.ScanQRCode)
	if echoed := s.get("loud").fields["config"].(map[string]any)["log"].(map[string]any)["level"]; echoed != "DEBUG" {
		t.Errorf("the level is echoed as %v", echoed)
	}
	text, _ := c.log.Text()
	for _, line := range strings.Split(text, "\n") {
		if strings.Contains(line, s.idOf("quiet")) {
			t.Errorf("the quiet session wrote %s", line)
		}
	}
	if !strings.Contains(text, s.idOf("loud")) {
		t.Error("the loud session wrote nothing")
	}
}

func (s *system) idOf(name string) string {
	s.Helper()
	tenant, err := s.store.TenantByName(s.Context(), "e2e")
	if err != nil {
		s.Fatal(err)
	}
	found, err := s.store.Session(s.Context(), tenant, session.Name(name))
	if err != nil {
		s.Fatal(err)
	}
	return string(found.ID)
}

func TestEachSessionHasItsOwnFile(t *testing.T) {
	t.Parallel()
	s := newSystem(t, options{})
	s.connector()
	s.pair("a", "5511999990181", documentedStart)
	s.pair("b", "5511999990182", documentedStart)
	files, err := filepath.Glob(filepath.Join(s.data, "*", "*", "whatsmeow.db"))
	if err != nil || len(files) != 2 {
		t.Fatalf("files %v %v, want two", files, err)
	}
	for _, file := range files {
		info, err := os.Stat(file)
		if err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%s has mode %v %v", file, info.Mode(), err)
		}
	}
}

func TestALinkThatLeavesTheDirectoryIsRefused(t *testing.T) {
	t.Parallel()
	s := newSystem(t, options{})
	s.start("a", `{"config":{"store":{"dialect":"sqlite3","address":"/app/data/sub/x.db"}}}`)
	outside := t.TempDir()
	own := filepath.Join(s.data, s.tenantID(), s.idOf("a"))
	if err := os.MkdirAll(own, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(outside, filepath.Join(own, "sub")); err != nil {
		t.Fatal(err)
	}
	s.connector()
	s.wait("a", session.Failed, session.StoreError)
	if left, _ := os.ReadDir(outside); len(left) != 0 {
		t.Errorf("files outside: %v", left)
	}
}

func (s *system) tenantID() string {
	s.Helper()
	tenant, err := s.store.TenantByName(s.Context(), "e2e")
	if err != nil {
		s.Fatal(err)
	}
	return string(tenant)
}

func TestSessionsOfAConnectorThatLeavesOrDiesMoveOn(t *testing.T) {
	t.Parallel()
	for how, leave := range map[string]func(*process){
		"SIGTERM": func(p *process) {
			if code := p.end(); code != 0 {
				p.Errorf("exit code %d", code)
			}
		},
		"SIGKILL": func(p *process) { p.kill() },
		"SIGSTOP": func(p *process) { p.signal(syscall.SIGSTOP) },
	} {
		t.Run(how, func(t *testing.T) {
			t.Parallel()
			s := newSystem(t, options{sim: &wasim.Server{FinalDelay: neverCloses}})
			first := s.connector(shortLease)
			names := []string{"a", "b", "c"}
			for i, name := range names {
				s.pair(name, "551199999020"+string(rune('0'+i)), postgresStart)
			}
			s.pair("off", "5511999990203", documentedStart)
			held := s.get("a").text("assignedWorker")
			survivors := []*process{s.connector(shortLease)}
			leave(first)
			s.stop("off") // nobody wants it back
			for _, name := range names {
				s.eventually(name+" on the other connector", func() bool {
					seen := s.get(name)
					return seen.text("status") == "WORKING" && seen.text("assignedWorker") != held && seen.text("assignedWorker") != ""
				})
			}
			if how == "SIGSTOP" {
				first.signal(syscall.SIGCONT)
				first.waitFor("every session is given up")
				first.restarted(session.ConnectorID(held))
				survivors = append(survivors, first)
			}
			s.invariants(survivors...)
		})
	}
}
