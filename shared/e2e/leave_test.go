package e2e

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/wafleet/wafleet/shared/session"
	"github.com/wafleet/wafleet/shared/wasim"
)

// bothStores is a start of each dialect.
var bothStores = map[string]string{"sqlite3": documentedStart, "postgres": postgresStart}

// ask asks for a deed of a session that must be done.
func (s *system) ask(name, verb string) {
	s.Helper()
	s.want(200, "POST", "/api/sessions/"+name+"/"+verb, "")
}

func (s *system) delete(name string) {
	s.Helper()
	s.want(200, "DELETE", "/api/sessions/"+name, "")
	s.want(404, "GET", "/api/sessions/"+name, "")
}

// unheld waits until nobody holds a session, nor is about to.
func (s *system) unheld() {
	s.Helper()
	s.eventually("the release", func() bool {
		return s.rows(`SELECT count(*) FROM session_run WHERE holder IS NOT NULL`)+s.rows(`SELECT count(*) FROM start_job`) == 0
	})
}

// nothingLinked waits until no device is linked, here or at WhatsApp.
func (s *system) nothingLinked() {
	s.Helper()
	s.eventually("the end of the device", func() bool {
		return len(s.sim.Devices()) == 0 && s.devicesHere() == 0 && s.rows(`SELECT count(*) FROM session_run WHERE jid IS NOT NULL`) == 0
	})
}

func (s *system) devicesHere() int { return s.rows(`SELECT count(*) FROM whatsmeow_device`) }

// erased waits until nothing of any session is left.
func (s *system) erased() {
	s.Helper()
	s.eventually("the end of the rows", func() bool { return s.rows(`SELECT count(*) FROM session`) == 0 })
	if n := s.devicesHere() + s.rows(`SELECT count(*) FROM whatsmeow_privacy_tokens`); n != 0 {
		s.Errorf("%d rows of devices are left", n)
	}
	if left, err := filepath.Glob(filepath.Join(s.data, "*", "*")); err != nil || len(left) != 0 {
		s.Errorf("files are left: %v %v", left, err)
	}
	s.eventually("the end of the sockets", func() bool { return s.sim.Stats().Open == 0 })
}

func TestARestartLogsInOnceMore(t *testing.T) {
	t.Parallel()
	s := newSystem(t, options{})
	s.connector()
	s.pair("a", "5511999990801", "")
	before := s.sim.Stats()
	s.ask("a", "restart")
	s.eventually("the new login", func() bool { return s.sim.Stats().Logins > before.Logins })
	s.wait("a", session.Working)
	if after := s.sim.Stats(); after.Logins != before.Logins+1 || after.Registrations != before.Registrations {
		t.Errorf("%d logins and %d registrations more", after.Logins-before.Logins, after.Registrations-before.Registrations)
	}
	s.stop("a")
	s.unheld()
	s.ask("a", "restart")
	s.wait("a", session.Working)
}

func TestALogoutUnlinks(t *testing.T) {
	t.Parallel()
	for dialect, body := range bothStores {
		t.Run(dialect, func(t *testing.T) {
			t.Parallel()
			s := newSystem(t, options{})
			s.connector()
			s.want(404, "POST", "/api/sessions/a/logout", "")
			s.start("a", body)
			s.want(409, "POST", "/api/sessions/a/logout", "")
			s.pairAgain("a", "5511999990811")

			s.ask("a", "logout") // while it works
			if shown := s.get("a"); shown.fields["authenticated"] != false || shown.text("status") == "WORKING" {
				t.Errorf("shown as %s", shown.body)
			}
			s.want(409, "POST", "/api/sessions/a/logout", "")
			s.wait("a", session.ScanQRCode)
			s.nothingLinked()
			s.scan("a", "5511999990811")

			s.stop("a") // and while it is stopped
			s.unheld()
			s.ask("a", "logout")
			s.nothingLinked()
			s.unheld()
			if status := s.get("a").text("status"); status != "STOPPED" {
				t.Errorf("status %s", status)
			}
			s.ask("a", "start")
			s.wait("a", session.ScanQRCode)
			s.scan("a", "5511999990812")
		})
	}
}

// pairAgain is pair for a session that is there.
func (s *system) pairAgain(name, number string) (jid string) {
	s.Helper()
	s.wait(name, session.ScanQRCode)
	return s.scan(name, number)
}

func TestADeletedSessionIsErased(t *testing.T) {
	t.Parallel()
	for dialect, body := range bothStores {
		for name, before := range map[string]func(s *system, c *process){
			"working":        func(*system, *process) {},
			"stopped":        func(s *system, _ *process) { s.stop("a"); s.unheld() },
			"stopping":       func(s *system, _ *process) { s.stop("a") },
			"logging out":    func(s *system, _ *process) { s.ask("a", "logout") },
			"logged out":     func(s *system, _ *process) { s.ask("a", "logout"); s.wait("a", session.ScanQRCode) },
			"no connector":   func(_ *system, c *process) { c.end() },
			"connector dead": func(_ *system, c *process) { c.kill() },
		} {
			t.Run(dialect+"/"+name, func(t *testing.T) {
				t.Parallel()
				s := newSystem(t, options{})
				c := s.connector(shortLease)
				s.pair("a", "5511999990821", body)
				before(s, c)
				s.delete("a")
				select {
				case <-c.exited:
					s.connector()
				default:
				}
				s.erased()
				s.nothingLinked()
				s.pair("a", "5511999990821", body) // the name and the phone are free
			})
		}
	}
}

// Without WhatsApp the credentials are removed all the same, in time.
func TestUnlinkingWithoutWhatsAppIsBounded(t *testing.T) {
	t.Parallel()
	for dialect, body := range bothStores {
		t.Run(dialect, func(t *testing.T) {
			t.Parallel()
			s := newSystem(t, options{})
			s.connector("UNLINK_PATIENCE=1s")
			s.pair("gone", "5511999990831", body)
			s.pair("out", "5511999990832", body)
			if err := s.sim.Refuse(wasim.RefuseClose, 0); err != nil {
				t.Fatal(err)
			}
			if _, err := s.sim.Drop("", wasim.DropRST); err != nil {
				t.Fatal(err)
			}
			s.wait("gone", session.Starting)
			s.wait("out", session.Starting)
			s.delete("gone")
			s.ask("out", "logout")
			s.ask("out", "stop")
			s.eventually("the end of the credentials", func() bool {
				return s.rows(`SELECT count(*) FROM session`) == 1 && s.rows(`SELECT count(*) FROM session_run WHERE jid IS NOT NULL`) == 0 && s.devicesHere() == 0
			})
			s.unheld()
		})
	}
}

func TestADeletedSessionWithABrokenStoreIsErased(t *testing.T) {
	t.Parallel()
	s := newSystem(t, options{})
	s.connector("UNLINK_PATIENCE=1s")
	s.pair("a", "5511999990841", documentedStart)
	s.stop("a")
	s.unheld()
	file := filepath.Join(s.data, s.tenantID(), s.idOf("a"), "whatsmeow.db")
	if err := os.WriteFile(file, []byte(strings.Repeat("no database", 1000)), 0o600); err != nil {
		t.Fatal(err)
	}
	s.delete("a")
	s.erased()
}

func TestARestartDuringADrain(t *testing.T) {
	t.Parallel()
	s := newSystem(t, options{})
	first := s.connector()
	for i := range 4 {
		s.pair(fmt.Sprint("a", i), fmt.Sprint("551199999085", i), "")
	}
	s.connector()
	before := s.sim.Stats().Registrations
	first.signal(syscall.SIGTERM)
	for i := range 4 {
		s.ask(fmt.Sprint("a", i), "restart")
	}
	<-first.exited
	for i := range 4 {
		s.wait(fmt.Sprint("a", i), session.Working)
	}
	if n := s.sim.Stats().Registrations; n != before {
		t.Errorf("%d registrations more", n-before)
	}
}

func TestAStopDuringAPairing(t *testing.T) {
	t.Parallel()
	s := newSystem(t, options{allowDouble: true}) // a phone may have to be scanned twice
	s.connector()
	for i := range 6 {
		name, number := fmt.Sprint("a", i), fmt.Sprint("551199999086", i)
		s.start(name, "")
		s.wait(name, session.ScanQRCode)
		code := s.qr(name)
		s.secret(number)
		var scanning sync.WaitGroup
		scanning.Go(func() { _, _ = s.sim.Scan(number, code) }) // may find it stopped
		s.stop(name)
		scanning.Wait()
		s.unheld()
		if status := s.get(name).text("status"); status != "STOPPED" {
			t.Fatalf("status %s", status)
		}
	}
	s.noCodesLeft()
	s.eventually("the end of the sockets", func() bool { return s.sim.Stats().Open == 0 })
	for i := range 6 {
		name := fmt.Sprint("a", i)
		s.ask(name, "start")
		s.eventually("its start", func() bool {
			status := s.get(name).text("status")
			return status == "WORKING" || status == "SCAN_QR_CODE"
		})
		s.delete(name)
	}
	s.erased()
}

func TestADeleteDuringAClaim(t *testing.T) {
	t.Parallel()
	s := newSystem(t, options{})
	s.connector()
	for range 30 {
		s.want(201, "POST", "/api/sessions/a/start", "")
		s.delete("a")
	}
	s.erased()
}

func TestAnUpdateIsInForce(t *testing.T) {
	t.Parallel()
	s := newSystem(t, options{})
	c := s.connector("LOG_LEVEL=WARN")
	s.pair("a", "5511999990871", `{"config":{"log":{"level":"error"}}}`)
	id, before := s.idOf("a"), s.sim.Stats().Logins
	if text, _ := c.log.Text(); strings.Contains(text, id) {
		t.Fatal("the quiet session wrote something")
	}
	s.want(200, "PUT", "/api/sessions/a", `{"config":{"log":{"level":"DEBUG"}}}`)
	s.eventually("the new login", func() bool { return s.sim.Stats().Logins > before })
	s.wait("a", session.Working)
	c.waitFor(id)
	s.want(409, "PUT", "/api/sessions/a", postgresStart) // the device would stay behind

	s.stop("a")
	s.unheld()
	changed := s.want(200, "PUT", "/api/sessions/a", `{"config":{"log":{"level":"INFO"}}}`)
	if changed.text("status") != "STOPPED" || !strings.Contains(string(changed.body), `"INFO"`) {
		t.Errorf("answer %s", changed.body)
	}
	s.unheld()
	if n := s.sim.Stats().Logins; n != before+1 {
		t.Errorf("%d logins more", n-before)
	}
}

// proxy is a way to WhatsApp that counts who takes it.
func (s *system) proxy() (address string, taken *atomic.Int64) {
	s.Helper()
	taken = new(atomic.Int64)
	var copies sync.WaitGroup
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		far, err := net.Dial("tcp", s.sim.DialAddr())
		if err != nil || r.Method != http.MethodConnect {
			w.WriteHeader(http.StatusBadGateway)
			return
		}
		taken.Add(1)
		near, _, err := http.NewResponseController(w).Hijack()
		if err != nil {
			far.Close()
			return
		}
		_, _ = io.WriteString(near, "HTTP/1.1 200 OK\r\n\r\n")
		for _, way := range [][2]net.Conn{{near, far}, {far, near}} {
			copies.Go(func() {
				_, _ = io.Copy(way[0], way[1])
				way[0].Close()
			})
		}
	}))
	s.Cleanup(func() {
		server.Close()
		copies.Wait()
	})
	return server.URL, taken
}

func TestAProxyThatIsChangedIsTaken(t *testing.T) {
	t.Parallel()
	s := newSystem(t, options{})
	first, firstTaken := s.proxy()
	second, secondTaken := s.proxy()
	s.connector()
	with := func(proxy string) string {
		host := strings.TrimPrefix(proxy, "http://")
		return fmt.Sprintf(`{"config":{"proxy":{"server":%q}}}`, host)
	}
	s.pair("a", "5511999990881", with(first))
	if firstTaken.Load() == 0 {
		t.Fatal("the proxy was not taken")
	}
	before := firstTaken.Load()
	logins := s.sim.Stats().Logins
	s.want(200, "PUT", "/api/sessions/a", with(second))
	s.eventually("the new login", func() bool { return s.sim.Stats().Logins > logins })
	s.wait("a", session.Working)
	if secondTaken.Load() == 0 || firstTaken.Load() != before {
		t.Errorf("the new proxy was taken %d times, the old one %d times more", secondTaken.Load(), firstTaken.Load()-before)
	}
	// Also where the device is unlinked meanwhile.
	before = firstTaken.Load()
	s.ask("a", "logout")
	s.want(200, "PUT", "/api/sessions/a", with(first))
	s.wait("a", session.ScanQRCode)
	if firstTaken.Load() == before {
		t.Error("linked anew by the old proxy")
	}
}
