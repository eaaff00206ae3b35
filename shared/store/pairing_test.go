package store_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/wafleet/wafleet/shared/session"
	"github.com/wafleet/wafleet/shared/store"
)

func TestQRCodesAreReadBackAndCleared(t *testing.T) {
	t.Parallel()
	f := newFleet(t)
	f.start("a")
	me := f.connector("c")
	claim := f.claim(me, 1)[0]
	codes := session.QRCodes{Codes: []string{"one", "two"}, First: time.Minute, Next: 20 * time.Second}
	if err := f.PutQRIfEpoch(t.Context(), termOf(claim), codes); err != nil {
		t.Fatal(err)
	}
	found, pairing, err := f.Pairing(t.Context(), f.tenant, "a")
	if err != nil {
		t.Fatal(err)
	}
	if code, _, ok := pairing.QR.Current(found.ReadAt); !ok || code != "one" {
		t.Fatalf("code %q %v", code, ok)
	}
	if code, _, ok := pairing.QR.Current(found.ReadAt.Add(70 * time.Second)); !ok || code != "two" {
		t.Fatalf("code %q %v", code, ok)
	}
	if err := f.ClearPairingIfEpoch(t.Context(), termOf(claim)); err != nil {
		t.Fatal(err)
	}
	f.noCodes()

	// The device is recorded and its codes are gone in one step.
	if err := f.PutQRIfEpoch(t.Context(), termOf(claim), codes); err != nil {
		t.Fatal(err)
	}
	if err := f.SetDeviceIfEpoch(t.Context(), me, termOf(claim), "1:2@s", 1); err != nil {
		t.Fatal(err)
	}
	f.noCodes()
}

func (f *fleet) noCodes() {
	f.Helper()
	if n := f.count(`SELECT count(*) FROM pairing WHERE codes IS NOT NULL OR code IS NOT NULL`); n != 0 {
		f.Fatal("codes are left")
	}
}

func TestACodeRequestIsAnswered(t *testing.T) {
	t.Parallel()
	f := newFleet(t)
	f.start("a")
	me := f.connector("c")
	claim := f.claim(me, 1)[0]
	ask := func(phone session.Phone) string {
		return must[string](f)(f.RequestCode(t.Context(), f.actor(), "a", phone))
	}
	id := ask("5511999999999")
	if same := ask("5511999999999"); same != id {
		t.Fatal("a second request for the same phone did not join the first")
	}
	changes := must[[]store.Change](f)(f.ChangesHeld(t.Context(), me))
	if len(changes) != 1 || changes[0].Request == nil || string(changes[0].Request.Phone) != "5511999999999" {
		t.Fatalf("changes %+v", changes)
	}
	if _, answered, err := f.CodeAnswer(t.Context(), id); err != nil || answered {
		t.Fatalf("answered %v, error %v", answered, err)
	}
	if err := f.AnswerCodeIfEpoch(t.Context(), termOf(claim), id, "ABCD-1234", "", time.Minute); err != nil {
		t.Fatal(err)
	}
	answer, answered, err := f.CodeAnswer(t.Context(), id)
	if err != nil || !answered || answer.Code != "ABCD-1234" {
		t.Fatalf("answer %+v %v %v", answer, answered, err)
	}
	if changes := must[[]store.Change](f)(f.ChangesHeld(t.Context(), me)); len(changes) != 0 {
		t.Fatalf("an answered request is still a change: %+v", changes)
	}
	other := ask("5511888888888")
	if other == id {
		t.Fatal("another phone joined the request")
	}
	if err := f.ForgetCodeRequest(t.Context(), other); err != nil {
		t.Fatal(err)
	}
	if answer, answered, _ := f.CodeAnswer(t.Context(), other); !answered || answer.Problem == "" {
		t.Fatalf("a forgotten request: %+v %v", answer, answered)
	}
	if _, err := f.RequestCode(t.Context(), f.actor(), "unknown", "5511999999999"); !errors.Is(err, session.ErrNotFound) {
		t.Fatalf("unknown session: %v", err)
	}
}

func TestHintsArrive(t *testing.T) {
	t.Parallel()
	f := newFleet(t)
	ctx, stop := context.WithCancel(t.Context())
	hints := make(chan session.ID, 10)
	done := make(chan error, 1)
	listening := f.direct()
	go func() { done <- listening.Listen(ctx, nil, func(id session.ID) { hints <- id }) }()
	if id := <-hints; id != "" {
		t.Fatalf("first hint %q, want the empty one of a fresh connection", id)
	}
	made := f.start("a")
	if id := <-hints; id != made.ID {
		t.Fatalf("hint %q, want %q", id, made.ID)
	}
	me := f.connector("c")
	if fenced := must[[]session.ID](f)(f.ReleaseIfEpoch(ctx, me, []store.Report{report(f.claim(me, 1)[0], session.Starting)})); len(fenced) != 0 {
		t.Fatalf("fenced: %v", fenced)
	}
	select {
	case id := <-hints:
		if id != made.ID {
			t.Fatalf("hint %q after the release, want %q", id, made.ID)
		}
	case <-time.After(10 * time.Second):
		t.Fatal("no hint after the release")
	}
	stop()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
}

func TestTroubleIsUnavailable(t *testing.T) {
	t.Parallel()
	f := newFleet(t)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := f.Session(ctx, f.tenant, "a"); !errors.Is(err, session.ErrUnavailable) {
		t.Fatalf("cancelled: %v", err)
	}
	s, err := store.Open("postgres://nobody:x@127.0.0.1:1/none?sslmode=disable", store.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if err := s.Ping(t.Context()); !errors.Is(err, session.ErrUnavailable) {
		t.Fatalf("no server: %v", err)
	}
	for _, url := range []string{"", "mysql://x", "postgres://host/db", "host=x dbname=y"} {
		if _, err := store.Open(url, store.Options{}); err == nil {
			t.Errorf("%q was accepted", url)
		}
	}
}
