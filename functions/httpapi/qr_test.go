package httpapi_test

import (
	"bytes"
	"context"
	"encoding/base64"
	"fmt"
	"image"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/makiuchi-d/gozxing"
	"github.com/makiuchi-d/gozxing/qrcode"

	"github.com/wafleet/wafleet/functions/httpapi"
	"github.com/wafleet/wafleet/shared/session"
)

// longCode is as long as WhatsApp's: a reference and three keys.
var longCode = "2@" + strings.Repeat("Zk9/+Qw1", 10) + strings.Repeat(","+strings.Repeat("aB3+/x9=", 5)+"abc=", 3)

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
	result, err := qrcode.NewQRCodeReader().Decode(bitmap, map[gozxing.DecodeHintType]any{gozxing.DecodeHintType_PURE_BARCODE: true})
	if err != nil {
		t.Fatal(err)
	}
	return result.GetText()
}

func TestQRForms(t *testing.T) {
	t.Parallel()
	s := newService(t)
	s.start("a")
	s.hold().showQR(longCode, "2@second")
	const qr, alias = "/api/a/auth/qr", "/api/sessions/a/qrcode"
	for _, one := range []struct{ path, accept, form string }{
		{qr, "", "json"},
		{qr, "*/*", "json"},
		{qr, "application/json", "json"},
		{qr, "text/html, application/json;q=0.9", "json"},
		{qr + "?server_id=1&session=b", "", "json"},
		{qr + "?format=raw", "", "raw"},
		{qr + "?format=raw", "image/png", "raw"},
		{qr + "?format=image", "", "png"},
		{qr + "?format=image", "*/*", "png"},
		{qr + "?format=image", "image/*", "png"},
		{qr + "?format=image", "application/json", "json"},
		{qr, "image/png", "png"},
		{qr, "image/png, application/json", "png"},
		{qr, "application/json, image/png", "json"},
		{alias, "", "json"},
		{alias, "image/png", "json"},
		{alias + "/?format=image", "", "json"},
	} {
		t.Run(one.path+" "+one.accept, func(t *testing.T) {
			header := http.Header{}
			if one.accept != "" {
				header["Accept"] = []string{one.accept}
			}
			a := s.do(ask{path: one.path, header: header}).want(http.StatusOK)
			if a.Header().Get("Cache-Control") != "no-store" {
				t.Error("a credential may be cached")
			}
			switch one.form {
			case "png":
				if a.Header().Get("Content-Type") != "image/png" || readQR(t, a.Body.Bytes()) != longCode {
					t.Error("not the PNG of the code")
				}
			case "raw":
				wantSame(t, a.object(), map[string]any{"value": longCode})
			case "json":
				wantQRBody(t, a.object())
			}
		})
	}
	s.get(qr+"?format=svg").wantError(http.StatusBadRequest, httpapi.CodeInvalidRequest)
	s.get(qr+"?format=raw&format=image").wantError(http.StatusBadRequest, httpapi.CodeInvalidRequest)
	if strings.Contains(s.log.String(), longCode[:20]) {
		t.Error("the code is in the log")
	}
}

func wantQRBody(t *testing.T, body map[string]any) {
	t.Helper()
	if len(body) != 4 || body["value"] != longCode || body["mimetype"] != "image/png" {
		t.Errorf("body %v", body)
	}
	png, err := base64.StdEncoding.DecodeString(body["data"].(string))
	if err != nil || readQR(t, png) != longCode {
		t.Errorf("data is not the PNG of the code: %v", err)
	}
	expires, err := time.Parse(time.RFC3339Nano, body["expiresAt"].(string))
	if left := time.Until(expires); err != nil || left <= 0 || left > session.FirstQRLife {
		t.Errorf("expires in %s, error %v", left, err)
	}
}

func TestQROfEveryLengthIsReadable(t *testing.T) {
	t.Parallel()
	s := newService(t)
	s.start("a")
	h := s.hold()
	for n := 1; n < 400; n += 57 {
		code := strings.Repeat("x", n)
		h.showQR(code)
		if got := readQR(t, s.get("/api/a/auth/qr?format=image").want(http.StatusOK).Body.Bytes()); got != code {
			t.Errorf("a code of %d characters is read as %q", n, got)
		}
	}
}

func TestQRWaitsForAStartingSession(t *testing.T) {
	t.Parallel()
	s := newService(t)
	s.start("a")
	h := s.hold()
	got := make(chan answer)
	go func() { got <- s.get("/api/a/auth/qr?format=raw") }()
	h.showQR("2@late")
	wantSame(t, (<-got).want(http.StatusOK).object(), map[string]any{"value": "2@late"})
}

func TestQROfAWrongStatus(t *testing.T) {
	t.Parallel()
	s := newService(t)
	s.get("/api/a/auth/qr").wantError(http.StatusNotFound, httpapi.CodeSessionNotFound)
	s.start("a")
	h := s.hold()
	wantWrong := func(status session.Status) {
		t.Helper()
		for _, path := range []string{"/api/a/auth/qr?format=image", "/api/sessions/a/qrcode"} {
			a := s.do(ask{path: path, header: http.Header{"Accept": {"image/png"}}})
			body := a.wantError(http.StatusUnprocessableEntity, httpapi.CodeWrongStatus)
			if body["status"] != string(status) || cmpList(body["expected"]) != "[SCAN_QR_CODE]" || body["session"] != "a" {
				t.Errorf("body %v", body)
			}
		}
	}
	h.report(session.Failed, session.QRExpired, "They ran out.")
	wantWrong(session.Failed)
	if text := s.get("/api/a/auth/qr").object()["message"].(string); !strings.Contains(text, "They ran out.") {
		t.Errorf("the message has no reason: %s", text)
	}
	h.link("5511999999999:1@s.whatsapp.net")
	wantWrong(session.Working)
	s.post("/api/sessions/a/stop", "").want(http.StatusOK)
	wantWrong(session.Stopped)
}

func cmpList(value any) string { return fmt.Sprint(value) }

func TestQRThatNeverComes(t *testing.T) {
	t.Parallel()
	s := newService(t)
	s.start("a")
	began := time.Now()
	body := s.get("/api/a/auth/qr").wantError(http.StatusUnprocessableEntity, httpapi.CodeWrongStatus)
	if body["status"] != "STARTING" {
		t.Errorf("body %v", body)
	}
	if took := time.Since(began); took < 4*time.Second || took > 10*time.Second {
		t.Errorf("waited %s", took)
	}
}

func TestAWaitEndsWithItsRequest(t *testing.T) {
	t.Parallel()
	s := newService(t)
	s.start("a")
	ctx, cancel := context.WithCancel(t.Context())
	got := make(chan answer)
	began := time.Now()
	go func() { got <- s.doContext(ctx, ask{path: "/api/a/auth/qr"}) }()
	cancel()
	<-got
	if took := time.Since(began); took > 3*time.Second {
		t.Errorf("went on for %s after its caller left", took)
	}
}

func TestAPasskeyHasNoQRCode(t *testing.T) {
	t.Parallel()
	s := newService(t)
	s.start("a")
	s.hold().report(session.ScanQRCode, session.PasskeyRequired, "Confirm on the phone.")
	a := s.get("/api/a/auth/qr")
	if text := a.wantError(http.StatusServiceUnavailable, httpapi.CodeQRNotReady)["message"].(string); !strings.Contains(text, "Confirm on the phone.") {
		t.Errorf("message %q", text)
	}
	if a.Header().Get("Retry-After") == "" {
		t.Error("no Retry-After")
	}
}
