package store_test

import (
	"errors"
	"sync"
	"testing"

	"github.com/wafleet/wafleet/shared/session"
)

func TestTheFirstDataKeyStays(t *testing.T) {
	t.Parallel()
	f := newFleet(t)
	if _, err := f.DataKey(t.Context()); !errors.Is(err, session.ErrNotFound) {
		t.Fatalf("%v", err)
	}
	var all sync.WaitGroup
	for i := range 8 {
		all.Go(func() {
			if err := f.PutDataKey(t.Context(), []byte{byte(i), 0, 0xff}); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	first := must[[]byte](f)(f.DataKey(t.Context()))
	if err := f.PutDataKey(t.Context(), []byte("late")); err != nil {
		t.Error(err)
	}
	if now := must[[]byte](f)(f.DataKey(t.Context())); string(now) != string(first) || len(now) != 3 {
		t.Errorf("%x, then %x", first, now)
	}
}

func TestADataKeyIsReplacedOnlyByWhoKnowsIt(t *testing.T) {
	t.Parallel()
	f := newFleet(t)
	replace := func(old, next string, want bool) {
		t.Helper()
		if replaced, err := f.ReplaceDataKey(t.Context(), []byte(old), []byte(next)); err != nil || replaced != want {
			t.Errorf("%v, %v", replaced, err)
		}
	}
	replace("", "one", false)
	if err := f.PutDataKey(t.Context(), []byte("one")); err != nil {
		t.Fatal(err)
	}
	replace("one", "two", true)
	replace("one", "three", false)
	if now := must[[]byte](f)(f.DataKey(t.Context())); string(now) != "two" {
		t.Errorf("%s", now)
	}
	if n := f.count(`SELECT count(*) FROM data_key WHERE rotated_at > created_at`); n != 1 {
		t.Errorf("%d rows say when", n)
	}
}
