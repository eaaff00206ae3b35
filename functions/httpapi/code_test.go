package httpapi_test

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/wafleet/wafleet/functions/httpapi"
	"github.com/wafleet/wafleet/shared/session"
	"github.com/wafleet/wafleet/shared/store"
)

const requestCode = "/api/a/auth/request-code"

// answerNext waits for a request for a code, as a connector does, and answers.
func (h *holder) answerNext(code, problem string) session.Phone {
	for {
		changes, err := h.store.ChangesHeld(h.Context(), h.me)
		if err != nil {
			h.Error(err)
			return ""
		}
		if asked := requestIn(changes); asked != nil {
			if err := h.store.AnswerCodeIfEpoch(h.Context(), h.term(), asked.ID, code, problem, time.Minute); err != nil {
				h.Error(err)
			}
			return asked.Phone
		}
	}
}

func requestIn(changes []store.Change) *store.CodeRequest {
	for _, change := range changes {
		if change.Request != nil {
			return change.Request
		}
	}
	return nil
}

func TestPairingCode(t *testing.T) {
	t.Parallel()
	s := newService(t)
	s.start("a")
	h := s.hold()
	h.showQR("2@code")
	for _, body := range []string{`{"phone":"5511999999999"}`, `{"phoneNumber":"+55 (11) 99999-9999"}`, `{"phone":"5511999999999","method":null}`} {
		phones := make(chan session.Phone)
		go func() { phones <- h.answerNext("ABCD-1234", "") }()
		a := s.post(requestCode, body).want(http.StatusOK)
		wantSame(t, a.object(), map[string]any{"code": "ABCD-1234"})
		if phone := string(<-phones); phone != "5511999999999" {
			t.Errorf("the holder was asked for %q", phone)
		}
		if rows := s.rows(); rows["pairing_request"] != 0 {
			t.Error("the request is left")
		}
	}
	if log := s.log.String(); strings.Contains(log, "5511999999999") || strings.Contains(log, "ABCD-1234") {
		t.Error("the phone number or the code is in the log")
	}
}

func TestPairingCodeRefused(t *testing.T) {
	t.Parallel()
	s := newService(t)
	s.start("a")
	h := s.hold()
	h.showQR("2@code")
	done := make(chan session.Phone)
	go func() { done <- h.answerNext("", "WhatsApp does not know this number") }()
	body := s.post(requestCode, `{"phone":"5511999999999"}`).wantError(http.StatusUnprocessableEntity, httpapi.CodePairingCodeRefused)
	if !strings.Contains(body["message"].(string), "WhatsApp does not know this number") {
		t.Errorf("body %v", body)
	}
	<-done
}

func TestPairingCodeWaitsForAStartingSession(t *testing.T) {
	t.Parallel()
	s := newService(t)
	s.start("a")
	h := s.hold()
	done := make(chan session.Phone)
	go func() {
		h.showQR("2@code")
		done <- h.answerNext("ABCD-1234", "")
	}()
	s.post(requestCode, `{"phone":"5511999999999"}`).want(http.StatusOK)
	<-done
}

func TestPairingCodeNobodyAnswers(t *testing.T) {
	t.Parallel()
	s := newService(t)
	s.start("a")
	s.hold().showQR("2@code")
	a := s.post(requestCode, `{"phone":"5511999999999"}`)
	a.wantError(http.StatusGatewayTimeout, httpapi.CodePairingCodeTimeout)
	if a.Header().Get("Retry-After") == "" {
		t.Error("no Retry-After")
	}
	if rows := s.rows(); rows["pairing_request"] != 0 {
		t.Error("the request is left")
	}
}

func TestPairingCodeRules(t *testing.T) {
	t.Parallel()
	s := newService(t)
	valid := `{"phone":"5511999999999"}`
	s.post(requestCode, valid).wantError(http.StatusNotFound, httpapi.CodeSessionNotFound)
	s.start("a")
	s.hold().link("5511999999999:1@s.whatsapp.net")
	body := s.post(requestCode, valid).wantError(http.StatusUnprocessableEntity, httpapi.CodeWrongStatus)
	if body["status"] != "WORKING" {
		t.Errorf("body %v", body)
	}
	for _, method := range []string{"sms", "voice"} {
		s.post(requestCode, `{"phone":"5511999999999","method":"`+method+`"}`).wantError(http.StatusNotImplemented, httpapi.CodeNotImplemented)
	}
	if rows := s.rows(); rows["pairing_request"] != 0 {
		t.Error("a request was recorded")
	}
}
