package e2e

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"image"
	_ "image/png"
	"regexp"
	"sync"
	"testing"
	"time"

	"github.com/makiuchi-d/gozxing"
	"github.com/makiuchi-d/gozxing/qrcode"

	"github.com/wafleet/wafleet/shared/session"
	"github.com/wafleet/wafleet/shared/wasim"
)

// documentedStart is the body of the vendor's own example.
const documentedStart = `{"config":{"store":{"dialect":"sqlite3","address":"/app/data/whatsmeow.db"},"log":{"level":"INFO"}}}`

const postgresStart = `{"config":{"store":{"dialect":"postgres"},"log":{"level":"debug"}}}`

func TestStartScanStopStart(t *testing.T) {
	t.Parallel()
	for dialect, body := range map[string]string{"sqlite3": documentedStart, "postgres": postgresStart} {
		t.Run(dialect, func(t *testing.T) {
			t.Parallel()
			s := newSystem(t, options{})
			c := s.connector()
			made := s.want(201, "POST", "/api/sessions/my-session/start", body)
			if made.text("message") != "Session started successfully" || made.fields["success"] != true || made.text("status") != "STARTING" {
				t.Fatalf("answer %s", made.body)
			}
			s.want(409, "POST", "/api/sessions/my-session/start", body)
			s.wait("my-session", session.ScanQRCode)
			s.want(409, "POST", "/api/sessions/my-session/start", body)
			s.scan("my-session", "5511999990001")
			s.noCodesLeft()
			working := s.get("my-session")
			me, _ := working.fields["me"].(map[string]any)
			if working.fields["authenticated"] != true || me["id"] != "5511999990001@c.us" || working.text("assignedWorker") == "" {
				t.Fatalf("session %s", working.body)
			}
			s.want(422, "GET", "/api/my-session/auth/qr", "")

			s.stop("my-session")
			if status := s.get("my-session").text("status"); status != "STOPPED" {
				t.Fatalf("status %s right after the stop", status)
			}
			s.want(409, "POST", "/api/sessions/my-session/stop", "")
			s.eventually("the end of the socket", func() bool { return s.sim.Stats().Open == 0 })
			registrations := s.sim.Stats().Registrations
			s.want(200, "POST", "/api/sessions/my-session/start", "")
			s.wait("my-session", session.Working)
			if n := s.sim.Stats().Registrations; n != registrations {
				t.Fatal("the session had to be scanned again")
			}
			if code := c.end(); code != 0 {
				t.Fatalf("exit code %d", code)
			}
		})
	}
}

func TestEveryFormOfTheQRCodeIsTheSame(t *testing.T) {
	t.Parallel()
	s := newSystem(t, options{})
	s.connector()
	s.start("a", "")
	// Asked while STARTING, the API waits for the code.
	shown := s.want(200, "GET", "/api/a/auth/qr?server_id=1", "")
	value := shown.text("value")
	s.secret(value)
	if shown.text("mimetype") != "image/png" || shown.header.Get("Cache-Control") != "no-store" || shown.text("expiresAt") == "" {
		t.Fatalf("answer %v", shown.header)
	}
	data, err := base64.StdEncoding.DecodeString(shown.text("data"))
	if err != nil {
		t.Fatal(err)
	}
	for name, png := range map[string][]byte{
		"json":   data,
		"format": s.want(200, "GET", "/api/a/auth/qr?format=image", "").body,
		"accept": s.want(200, "GET", "/api/a/auth/qr", "", "Accept: image/png").body,
	} {
		if got := readQR(t, png); got != value {
			t.Errorf("%s: the picture reads %.30q..., want %.30q...", name, got, value)
		}
	}
	if raw := s.qr("a"); raw != value {
		t.Errorf("raw is %.30q...", raw)
	}
	if alias := s.want(200, "GET", "/api/sessions/a/qrcode", "").text("value"); alias != value {
		t.Errorf("alias is %.30q...", alias)
	}
}

func readQR(t *testing.T, png []byte) string {
	t.Helper()
	picture, _, err := image.Decode(bytes.NewReader(png))
	if err != nil {
		t.Fatal(err)
	}
	bitmap, err := gozxing.NewBinaryBitmapFromImage(picture)
	if err != nil {
		t.Fatal(err)
	}
	result, err := qrcode.NewQRCodeReader().Decode(bitmap, nil)
	if err != nil {
		t.Fatal(err)
	}
	return result.GetText()
}

var pairingCode = regexp.MustCompile(`^[1-9A-Z]{4}-[1-9A-Z]{4}$`)

func TestPairingCode(t *testing.T) {
	t.Parallel()
	for field, number := range map[string]string{"phone": "5511999990011", "phoneNumber": "5511999990012"} {
		t.Run(field, func(t *testing.T) {
			t.Parallel()
			s := newSystem(t, options{})
			s.connector()
			s.secret(number)
			s.start("a", "")
			began := time.Now()
			code := s.want(200, "POST", "/api/a/auth/request-code", fmt.Sprintf(`{%q:"+%s"}`, field, number)).text("code")
			s.secret(code)
			if !pairingCode.MatchString(code) {
				t.Fatal("the code does not look like XXXX-XXXX")
			}
			t.Logf("code after %v", time.Since(began))
			if _, err := s.sim.LinkCode(number, code); err != nil {
				t.Fatal(err)
			}
			s.wait("a", session.Working)
			s.noCodesLeft()
			s.want(422, "POST", "/api/a/auth/request-code", fmt.Sprintf(`{%q:%q}`, field, number))
		})
	}
}

func TestAWrongPairingCodeCanBeFollowedByANewOne(t *testing.T) {
	t.Parallel()
	s := newSystem(t, options{})
	s.connector()
	const number = "5511999990021"
	ask := func() string {
		return s.want(200, "POST", "/api/a/auth/request-code", `{"phone":"`+number+`"}`).text("code")
	}
	s.start("a", "")
	first := ask()
	if _, err := s.sim.LinkCode(number, "2222-2222"); err == nil && first != "2222-2222" {
		t.Fatal("a wrong code linked the device")
	}
	s.wait("a", session.ScanQRCode)
	if _, err := s.sim.LinkCode(number, ask()); err != nil {
		t.Fatal(err)
	}
	s.wait("a", session.Working)
}

func TestAnUnscannedCodeExpires(t *testing.T) {
	t.Parallel()
	s := newSystem(t, options{sim: &wasim.Server{QRTimeout: time.Minute}})
	s.connector("QR_FIRST=3s", "QR_NEXT=1500ms") // 10.5 s instead of 160 s; long enough for a busy machine to see each
	s.start("a", "")
	s.wait("a", session.ScanQRCode)
	seen := map[string]bool{}
	s.eventually("the end of the codes", func() bool {
		shown := s.call("GET", "/api/a/auth/qr?format=raw", "")
		if shown.code == 200 {
			seen[shown.text("value")] = true
			return false
		}
		return s.get("a").text("status") == "FAILED"
	})
	if len(seen) != 6 {
		t.Errorf("%d different codes were shown, want 6", len(seen))
	}
	s.wait("a", session.Failed, session.QRExpired)
	s.noCodesLeft()
	s.eventually("the end of the socket", func() bool { return s.sim.Stats().Open == 0 })
	s.want(200, "POST", "/api/sessions/a/start", "")
	s.wait("a", session.ScanQRCode)
	s.scan("a", "5511999990031")
}

func TestTheServerClosesWhenItsCodesRunOut(t *testing.T) {
	t.Parallel()
	s := newSystem(t, options{sim: &wasim.Server{QRTimeout: 2 * time.Second}})
	s.connector("QR_FIRST=600ms", "QR_NEXT=300ms")
	s.start("a", "")
	s.wait("a", session.Failed, session.QRExpired)
}

func TestStopIsHonouredAtOnce(t *testing.T) {
	t.Parallel()
	s := newSystem(t, options{})
	s.connector()
	s.pair("a", "5511999990041", "")
	s.stop("a")
	began := time.Now()
	s.eventually("the end of the socket", func() bool { return s.sim.Stats().Open == 0 })
	if took := time.Since(began); took > time.Second {
		t.Errorf("the socket was closed after %v, want within 1 s", took)
	}
	s.eventually("the release", func() bool { return s.rows(`SELECT count(*) FROM session_run WHERE holder IS NOT NULL`) == 0 })
}

func TestOneOfManyStartsSucceedsAndRunsOnce(t *testing.T) {
	t.Parallel()
	s := newSystem(t, options{})
	s.connector()
	const n = 30
	codes := make([]int, n)
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() { codes[i] = s.call("POST", "/api/sessions/a/start", "").code })
	}
	wg.Wait()
	count := map[int]int{}
	for _, code := range codes {
		count[code]++
	}
	if count[201] != 1 || count[409] != n-1 {
		t.Fatalf("answers %v, want one 201 and %d 409", count, n-1)
	}
	s.wait("a", session.ScanQRCode)
	if got := s.sim.Stats().Registrations; got != 1 {
		t.Fatalf("%d registrations, want 1", got)
	}
}
