package store_test

import (
	"crypto/sha256"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/wafleet/wafleet/shared/store"
)

func (f *fleet) repeatable(key, asked string) store.Repeatable {
	return store.Repeatable{Tenant: f.tenant, Key: key, Fingerprint: sha256.Sum256([]byte(asked))}
}

func (f *fleet) take(key, asked string) store.IdempotencyClaim {
	f.Helper()
	return must[store.IdempotencyClaim](f)(f.ClaimIdempotency(f.Context(), f.repeatable(key, asked)))
}

func (f *fleet) settle(claim store.IdempotencyClaim, answer store.Answer) {
	f.Helper()
	if err := f.AnswerIdempotency(f.Context(), claim, answer); err != nil {
		f.Fatal(err)
	}
}

var created = store.Answer{Status: 201, ContentType: "application/json", Body: []byte("{\"a\":\"\u00fc\\\"\"}\n\x00\xff")}

func TestAnAnswerIsGivenAgain(t *testing.T) {
	t.Parallel()
	f := newFleet(t)
	first := f.take("k", "start")
	if !first.Mine || !first.Same || first.Answer != nil {
		t.Fatalf("%+v", first)
	}
	if again := f.take("k", "start"); again.Mine || !again.Same || again.Answer != nil {
		t.Errorf("while it runs: %+v", again)
	}
	f.settle(first, created)
	again := f.take("k", "start")
	if again.Mine || !again.Same || again.Answer == nil {
		t.Fatalf("%+v", again)
	}
	if diff := cmp.Diff(created, *again.Answer); diff != "" {
		t.Error(diff)
	}
	if other := f.take("k", "stop"); other.Mine || other.Same {
		t.Errorf("another request: %+v", other)
	}
	if n := f.count(`SELECT count(*) FROM idempotency WHERE expires_at BETWEEN now() + interval '1439 minutes' AND now() + interval '1440 minutes'`); n != 1 {
		t.Errorf("%d answers live for 24 h", n)
	}
}

func TestAReleasedKeyIsFree(t *testing.T) {
	t.Parallel()
	f := newFleet(t)
	first := f.take("k", "start")
	if err := f.ReleaseIdempotency(t.Context(), first); err != nil {
		t.Fatal(err)
	}
	if second := f.take("k", "stop"); !second.Mine || !second.Same {
		t.Errorf("%+v", second)
	}
}

// A run that was given up may not speak for the one that took its place.
func TestALateRunWritesNothing(t *testing.T) {
	t.Parallel()
	f := newFleet(t)
	late := f.take("k", "start")
	if n := f.count(`SELECT count(*) FROM idempotency WHERE expires_at BETWEEN now() + interval '50 seconds' AND now() + interval '60 seconds'`); n != 1 {
		t.Errorf("%d claims lapse within a minute", n)
	}
	f.sql(`UPDATE idempotency SET expires_at = now() - interval '1 ms'`)
	second := f.take("k", "start")
	if !second.Mine {
		t.Fatalf("%+v", second)
	}
	f.settle(late, created)
	if err := f.ReleaseIdempotency(t.Context(), late); err != nil {
		t.Fatal(err)
	}
	if now := f.take("k", "start"); now.Mine || now.Answer != nil {
		t.Errorf("%+v", now)
	}
	f.settle(second, store.Answer{Status: 409, ContentType: "x", Body: []byte("second")})
	f.settle(second, created) // an answer is given once
	if now := f.take("k", "start"); now.Answer == nil || now.Answer.Status != 409 {
		t.Errorf("%+v", now)
	}
}

func TestOneOfManyClaimsWins(t *testing.T) {
	t.Parallel()
	f := newFleet(t)
	const n = 40
	claims := make([]store.IdempotencyClaim, n)
	for range 3 { // the last rounds take a row over that has passed
		ready := make(chan struct{})
		var all sync.WaitGroup
		for i := range n {
			all.Go(func() {
				<-ready
				claims[i], _ = f.ClaimIdempotency(t.Context(), f.repeatable("k", "start"))
			})
		}
		close(ready)
		all.Wait()
		mine := 0
		for _, claim := range claims {
			if !claim.Same {
				t.Errorf("%+v", claim)
			}
			if claim.Mine {
				mine++
			}
		}
		if mine != 1 {
			t.Errorf("%d claims", mine)
		}
		f.sql(`UPDATE idempotency SET expires_at = now()`)
	}
}

func TestOnlyWhatHasPassedIsForgotten(t *testing.T) {
	t.Parallel()
	f := newFleet(t)
	for _, key := range []string{"a", "b", "c", "d"} {
		f.settle(f.take(key, key), created)
	}
	f.sql(`UPDATE idempotency SET expires_at = now() - interval '1 second' WHERE key < 'd'`)
	for _, want := range []int{2, 1, 0} {
		if n := must[int](f)(f.ForgetIdempotency(t.Context(), 2)); n != want {
			t.Errorf("%d are forgotten, want %d", n, want)
		}
	}
	if n := f.count(`SELECT count(*) FROM idempotency WHERE key = 'd'`); n != 1 {
		t.Error("an answer that lives is forgotten")
	}
}
