package store_test

import (
	"slices"
	"testing"

	"github.com/wafleet/wafleet/shared/session"
	"github.com/wafleet/wafleet/shared/store"
)

func TestTermsHeldAreThoseOfOneConnector(t *testing.T) {
	t.Parallel()
	f := newFleet(t)
	f.start("a")
	one, two := f.connector("one"), f.connector("two")
	first := f.claim(one, 1)
	f.start("b")
	second := f.claim(two, 1)
	held := func(me session.ConnectorID) []store.Term { return must[[]store.Term](f)(f.TermsHeld(t.Context(), me)) }
	if got := held(one); !slices.Equal(got, []store.Term{termOf(first[0])}) {
		t.Errorf("the first holds %v", got)
	}
	if got := held(two); !slices.Equal(got, []store.Term{termOf(second[0])}) {
		t.Errorf("the second holds %v", got)
	}
	must[[]session.ID](f)(f.ReleaseIfEpoch(t.Context(), one, []store.Report{report(first[0], session.Starting)}))
	if got := held(one); len(got) != 0 {
		t.Errorf("still holds %v", got)
	}
}
