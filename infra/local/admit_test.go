package main

import (
	"context"
	"testing"

	"github.com/wafleet/wafleet/functions/access"
	"github.com/wafleet/wafleet/shared/apikey"
	"github.com/wafleet/wafleet/shared/pgtest"
	"github.com/wafleet/wafleet/shared/schema"
	"github.com/wafleet/wafleet/shared/store"
)

func migrated(ctx context.Context, url string) error { return schema.Migrate(ctx, url, nil) }

// TestAKeyThatWasChosenEndsWithTheNextOne: keys that were made stay, as does
// what an operator gave to others.
func TestAKeyThatWasChosenEndsWithTheNextOne(t *testing.T) {
	t.Parallel()
	db := &database{}
	var err error
	if db.Store, err = store.Open(pgtest.New(t, migrated), store.Options{MaxOpen: 4}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Store.Close() })
	if db.tenant, err = db.EnsureTenant(t.Context(), tenantName); err != nil {
		t.Fatal(err)
	}
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	want := func(valid ...string) {
		t.Helper()
		a := access.New(db.Store, accessConfig())
		is := map[string]bool{}
		for _, key := range valid {
			is[key] = true
		}
		for _, key := range []string{"k", "another", "invoked", made} {
			caller, err := a.Authenticate(t.Context(), key)
			if (err == nil) != is[key] || is[key] && caller.May(access.Keys, "") != nil {
				t.Errorf("%.7s: %+v, %v; want valid: %v", key, caller, err, is[key])
			}
		}
	}
	must(db.admitOnly(t.Context(), made))
	must(db.admitOnly(t.Context(), "k"))
	want("k", made)
	_, err = db.admit(t.Context(), "invoked", invokedKeyName)
	must(err)
	want("k", made, "invoked")
	must(db.admitOnly(t.Context(), "another"))
	want("another", made)
	must(db.admitOnly(t.Context(), made))
	want(made)
	must(db.admitOnly(t.Context(), "k")) // and back
	want("k", made)

	other, err := db.CreateTenant(t.Context(), "other")
	must(err)
	theirs := apikey.New()
	hash := theirs.Hash()
	_, err = db.CreateKey(t.Context(), store.Actor{Tenant: other, Key: store.Operator}, store.NewKey{ID: theirs.ID(), Hash: hash[:]})
	must(err)
	if err := db.admitOnly(t.Context(), theirs.Reveal()); err == nil {
		t.Error("a key of another tenant is admitted")
	}
}

// made is a key as the first run makes one.
var made = apikey.New().Reveal()
