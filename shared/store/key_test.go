package store_test

import (
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/wafleet/wafleet/shared/apikey"
	"github.com/wafleet/wafleet/shared/session"
	"github.com/wafleet/wafleet/shared/store"
)

func (f *fleet) operator() store.Actor {
	return store.Actor{Tenant: f.tenant, Key: store.Operator, Request: "r-1"}
}

func newKey(k apikey.Key) store.NewKey {
	hash := k.Hash()
	return store.NewKey{ID: k.ID(), Hash: hash[:]}
}

// key stores a fresh key; what is set of it stays.
func (f *fleet) key(like store.NewKey) (apikey.Key, store.Key) {
	f.Helper()
	k := apikey.New()
	hash := k.Hash()
	like.ID, like.Hash = k.ID(), hash[:]
	return k, must[store.Key](f)(f.CreateKey(f.Context(), f.operator(), like))
}

// present looks a key up as the API does.
func (f *fleet) present(k apikey.Key) store.PresentedKey {
	f.Helper()
	hash := k.Hash()
	return must[store.PresentedKey](f)(f.KeyByID(f.Context(), k.ID(), hash[:]))
}

// deeds is the audit, the oldest first, as "who action subject request".
func (f *fleet) deeds() []string {
	f.Helper()
	var deeds []string
	for _, e := range must[[]store.AuditEntry](f)(f.Audit(f.Context(), f.tenant, store.AuditFilter{Limit: 100})) {
		deeds = append([]string{strings.TrimSpace(e.Key + " " + e.Action + " " + e.Subject + " " + e.Request)}, deeds...)
	}
	return deeds
}

func (f *fleet) wantDeeds(want ...string) {
	f.Helper()
	if diff := cmp.Diff(append([]string{"operator tenant.create acme"}, want...), f.deeds()); diff != "" {
		f.Errorf("audit (-want +got)\n%s", diff)
	}
}

func TestTheLifeOfAKey(t *testing.T) {
	t.Parallel()
	f := newFleet(t)
	k, made := f.key(store.NewKey{Name: "mine", Scope: store.ScopeSession, Session: "a", ExpiresIn: time.Hour})
	if until := time.Until(made.ExpiresAt); until < 50*time.Minute || until > 70*time.Minute {
		t.Errorf("expires in %s", until)
	}
	want := store.Key{
		ID: k.ID(), Tenant: f.tenant, Name: "mine", Scope: store.ScopeSession, Session: "a",
		CreatedAt: made.CreatedAt, CreatedBy: store.Operator, ExpiresAt: made.ExpiresAt,
	}
	if diff := cmp.Diff(want, made); diff != "" || made.CreatedAt.IsZero() {
		t.Errorf("made (-want +got)\n%s", diff)
	}
	found := f.present(k)
	if diff := cmp.Diff(want, found.Key); diff != "" || !apikey.Matches(found.Hash, k.Hash()) || found.Quota != nil || found.Left <= 50*time.Minute {
		t.Errorf("found %+v", found)
	}
	_, second := f.key(store.NewKey{})
	listed := must[[]store.Key](f)(f.Keys(t.Context(), f.tenant, store.Page{Limit: 10}))
	if len(listed) != 2 || listed[0].ID != second.ID || listed[0].Scope != store.ScopeTenant || listed[1].LastUsedAt.IsZero() {
		t.Errorf("listed %+v", listed)
	}
	if page := must[[]store.Key](f)(f.Keys(t.Context(), f.tenant, store.Page{Limit: 1, Offset: 1})); len(page) != 1 || page[0].ID != k.ID() {
		t.Errorf("second page %+v", page)
	}
	for range 2 {
		if err := f.RevokeKey(t.Context(), f.operator(), k.ID()); err != nil {
			t.Fatal(err)
		}
	}
	if found := f.present(k); found.Left != 0 || found.RevokedAt.IsZero() {
		t.Errorf("revoked: %+v", found)
	}
	f.wantDeeds("operator key.create "+k.ID()+" r-1", "operator key.create "+second.ID+" r-1", "operator key.revoke "+k.ID()+" r-1")
}

func TestKeysAreTheirTenantsOwn(t *testing.T) {
	t.Parallel()
	f := newFleet(t)
	k, _ := f.key(store.NewKey{})
	other := store.Actor{Tenant: must[session.TenantID](f)(f.CreateTenant(t.Context(), "other")), Key: "theirs"}
	if err := f.RevokeKey(t.Context(), other, k.ID()); !errors.Is(err, session.ErrNotFound) {
		t.Errorf("revoke: %v", err)
	}
	if _, err := f.RotateKey(t.Context(), other, k.ID(), newKey(apikey.New()), 0); !errors.Is(err, session.ErrNotFound) {
		t.Errorf("rotate: %v", err)
	}
	if err := f.AdmitKey(t.Context(), other.Tenant, newKey(k)); err == nil {
		t.Error("a key was moved to another tenant")
	}
	if list := must[[]store.Key](f)(f.Keys(t.Context(), other.Tenant, store.Page{Limit: 10})); len(list) != 0 {
		t.Errorf("listed %+v", list)
	}
	if f.present(k).Left == 0 {
		t.Error("the key works no more")
	}
	if entries := must[[]store.AuditEntry](f)(f.Audit(t.Context(), other.Tenant, store.AuditFilter{Limit: 9})); len(entries) != 1 || entries[0].Action != "tenant.create" {
		t.Errorf("audit of the other tenant: %+v", entries)
	}
}

func TestUseIsNotedOnceAMinute(t *testing.T) {
	t.Parallel()
	f := newFleet(t)
	k, _ := f.key(store.NewKey{})
	// Every write of the row counts, whoever writes.
	f.sql(`CREATE TABLE writes (n int); CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN INSERT INTO writes VALUES (1); RETURN NEW; END';
		CREATE TRIGGER note AFTER UPDATE ON api_key FOR EACH ROW EXECUTE FUNCTION note()`)
	second := must[*store.Store](f)(store.Open(f.url, store.Options{MaxOpen: 8}))
	defer second.Close()
	hash, wrong := k.Hash(), apikey.New().Hash()
	lookUp := func(presented apikey.Hash) {
		var all sync.WaitGroup
		for _, process := range []*store.Store{f.Store, second} {
			for range 8 {
				all.Go(func() {
					if _, err := process.KeyByID(t.Context(), k.ID(), presented[:]); err != nil {
						t.Error(err)
					}
				})
			}
		}
		all.Wait()
	}
	want := func(when string, writes int) {
		t.Helper()
		if n := f.count(`SELECT count(*) FROM writes`); n != writes {
			t.Errorf("%s: %d writes, want %d", when, n, writes)
		}
	}
	lookUp(wrong)
	want("a wrong secret", 0)
	lookUp(hash)
	want("first use", 1)
	lookUp(hash)
	want("within the minute", 1)
	f.sql(`ALTER TABLE api_key DISABLE TRIGGER note; UPDATE api_key SET last_used_at = now() - interval '60 seconds'; ALTER TABLE api_key ENABLE TRIGGER note`)
	lookUp(hash)
	want("a minute later", 2)
	f.sql(`ALTER TABLE api_key DISABLE TRIGGER note; UPDATE api_key SET last_used_at = NULL, expires_at = now(); ALTER TABLE api_key ENABLE TRIGGER note`)
	lookUp(hash)
	want("expired", 2)
	f.sql(`ALTER TABLE api_key DISABLE TRIGGER note; UPDATE api_key SET expires_at = NULL, revoked_at = now(); ALTER TABLE api_key ENABLE TRIGGER note`)
	lookUp(hash)
	want("revoked", 2)
}

func TestRotation(t *testing.T) {
	t.Parallel()
	f := newFleet(t)
	old, made := f.key(store.NewKey{Name: "mine", Scope: store.ScopeRead, Session: "a", ExpiresIn: time.Hour})
	next := apikey.New()
	by := store.Actor{Tenant: f.tenant, Key: "admin-key"}
	got := must[store.Key](f)(f.RotateKey(t.Context(), by, old.ID(), newKey(next), 10*time.Minute))
	want := made
	want.ID, want.CreatedAt, want.CreatedBy = next.ID(), got.CreatedAt, "admin-key"
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("rotated (-want +got)\n%s", diff)
	}
	if left := f.present(old).Left; left < 9*time.Minute || left > 10*time.Minute {
		t.Errorf("the old key works for %s", left)
	}
	if left := f.present(next).Left; left < 50*time.Minute {
		t.Errorf("the new key works for %s", left)
	}
	// A grace never makes a key live longer.
	must[store.Key](f)(f.RotateKey(t.Context(), by, old.ID(), newKey(apikey.New()), 24*time.Hour))
	if left := f.present(old).Left; left > 10*time.Minute {
		t.Errorf("the old key lives on for %s", left)
	}
	// Without a grace one of many wins.
	var all sync.WaitGroup
	var mu sync.Mutex
	var won int
	for range 8 {
		all.Go(func() {
			_, err := f.RotateKey(t.Context(), by, next.ID(), newKey(apikey.New()), 0)
			mu.Lock()
			defer mu.Unlock()
			if err == nil {
				won++
			} else if !errors.Is(err, session.ErrNotFound) {
				t.Error(err)
			}
		})
	}
	all.Wait()
	if won != 1 || f.present(next).Left != 0 {
		t.Errorf("%d rotations succeeded, %s left", won, f.present(next).Left)
	}
	if deeds := f.deeds(); len(deeds) != 5 || deeds[2] != "admin-key key.rotate "+old.ID()+" -> "+next.ID() {
		t.Errorf("audit %q", deeds)
	}
}

func TestAKeyOfAnOperatorsOwn(t *testing.T) {
	t.Parallel()
	f := newFleet(t)
	k := newKey(apikey.New())
	k.Name, k.Scope = "make run", store.ScopeAdmin
	admit := func() {
		t.Helper()
		if err := f.AdmitKey(t.Context(), f.tenant, k); err != nil {
			t.Fatal(err)
		}
	}
	admit()
	admit() // nothing to do
	if err := f.RevokeKey(t.Context(), f.operator(), k.ID); err != nil {
		t.Fatal(err)
	}
	admit()
	found := must[store.PresentedKey](f)(f.KeyByID(t.Context(), k.ID, k.Hash))
	if found.Left == 0 || found.Scope != store.ScopeAdmin {
		t.Errorf("%+v", found)
	}
	f.wantDeeds("operator key.create "+k.ID, "operator key.revoke "+k.ID+" r-1", "operator key.create "+k.ID)

	for _, id := range []string{"own-1", "own-2", "other"} {
		mustNil(f, f.AdmitKey(t.Context(), f.tenant, store.NewKey{ID: id, Hash: k.Hash, Name: "make run", Scope: store.ScopeAdmin}))
	}
	mustNil(f, f.AdmitKey(t.Context(), f.tenant, store.NewKey{ID: "own-3", Hash: k.Hash, Name: "else", Scope: store.ScopeAdmin}))
	for range 2 {
		mustNil(f, f.RevokeKeysNamed(t.Context(), f.tenant, "make run", "own-2", "own-"))
	}
	if n := f.count(`SELECT count(*) FROM api_key WHERE revoked_at IS NOT NULL AND id = 'own-1'`); n != 1 || f.count(`SELECT count(*) FROM api_key WHERE revoked_at IS NOT NULL`) != 1 {
		t.Error("other keys than own-1 are revoked, or not that")
	}
	if deeds := f.deeds(); deeds[len(deeds)-1] != "operator key.revoke own-1" || len(deeds) != 9 {
		t.Errorf("audit %q", deeds)
	}
}

func mustNil(f *fleet, err error) {
	f.Helper()
	if err != nil {
		f.Fatal(err)
	}
}

func TestTenants(t *testing.T) {
	t.Parallel()
	f := newFleet(t)
	if _, err := f.CreateTenant(t.Context(), "acme"); !errors.Is(err, store.ErrTenantExists) {
		t.Errorf("a second acme: %v", err)
	}
	if id := must[session.TenantID](f)(f.EnsureTenant(t.Context(), "acme")); id != f.tenant {
		t.Errorf("acme is %s", id)
	}
	if id := must[session.TenantID](f)(f.TenantByName(t.Context(), "acme")); id != f.tenant {
		t.Errorf("acme is %s", id)
	}
	if _, err := f.TenantByName(t.Context(), "nobody"); !errors.Is(err, session.ErrNotFound) {
		t.Errorf("nobody: %v", err)
	}
	must[session.TenantID](f)(f.EnsureTenant(t.Context(), "new"))
	f.start("a")
	k, _ := f.key(store.NewKey{})
	f.key(store.NewKey{ExpiresAt: time.Now().Add(-time.Hour)})
	five := 5
	mustNil(f, f.SetQuota(t.Context(), f.operator(), &five))
	list := must[[]store.Tenant](f)(f.Tenants(t.Context(), store.Page{Limit: 10}))
	if len(list) != 2 || list[0].Name != "acme" || *list[0].Quota != 5 || list[0].Sessions != 1 || list[0].Keys != 1 || list[1].Quota != nil {
		t.Errorf("%+v", list)
	}
	if found := f.present(k); found.Quota == nil || *found.Quota != 5 {
		t.Errorf("%+v", found)
	}
	mustNil(f, f.SetQuota(t.Context(), f.operator(), nil))
	if found := f.present(k); found.Quota != nil {
		t.Errorf("%+v", found)
	}
	if err := f.SetQuota(t.Context(), store.Actor{Tenant: session.NewTenantID(), Key: store.Operator}, nil); !errors.Is(err, session.ErrNotFound) {
		t.Errorf("no such tenant: %v", err)
	}
	if n := f.count(`SELECT count(*) FROM audit WHERE action = 'tenant.create'`); n != 2 {
		t.Errorf("%d tenants in the audit", n)
	}
	if n := f.count(`SELECT count(*) FROM audit WHERE action = 'tenant.quota' AND subject = 'acme'`); n != 2 {
		t.Errorf("%d quotas in the audit", n)
	}
}

func TestTheDatabaseRefusesWhatNoScopeMeans(t *testing.T) {
	t.Parallel()
	f := newFleet(t)
	for _, wrong := range []store.NewKey{
		{Scope: store.ScopeSession}, {Scope: store.ScopeTenant, Session: "a"}, {Scope: store.ScopeAdmin, Session: "a"}, {Scope: "root"}, {Scope: store.ScopeRead, Session: "a b"},
	} {
		k := newKey(apikey.New())
		wrong.ID, wrong.Hash = k.ID, k.Hash
		if _, err := f.CreateKey(t.Context(), f.operator(), wrong); err == nil {
			t.Errorf("%+v was stored", wrong)
		}
	}
	f.wantDeeds()
	// What an old program writes.
	f.sql(`INSERT INTO api_key (id, tenant_id, name, hash) VALUES ('old', $1, 'old', $2)`, f.tenant, newKey(apikey.New()).Hash)
	if n := f.count(`SELECT count(*) FROM api_key WHERE id = 'old' AND scope = 'tenant' AND created_by = ''`); n != 1 {
		t.Error("an old program's key is no tenant's key")
	}
}

func TestTheAuditIsReadAndForgotten(t *testing.T) {
	t.Parallel()
	f := newFleet(t)
	k, _ := f.key(store.NewKey{})
	mustNil(f, f.RevokeKey(t.Context(), store.Actor{Tenant: f.tenant, Key: "someone"}, k.ID()))
	read := func(filter store.AuditFilter) []store.AuditEntry {
		t.Helper()
		filter.Limit = max(filter.Limit, 1)
		return must[[]store.AuditEntry](f)(f.Audit(t.Context(), f.tenant, filter))
	}
	newest := read(store.AuditFilter{})
	if len(newest) != 1 || newest[0].Action != "key.revoke" || newest[0].At.IsZero() {
		t.Fatalf("%+v", newest)
	}
	if next := read(store.AuditFilter{Before: newest[0].ID}); len(next) != 1 || next[0].Action != "key.create" {
		t.Errorf("%+v", next)
	}
	for _, filter := range []store.AuditFilter{{Key: "someone"}, {Action: "key.revoke"}, {Subject: k.ID()[3:], Limit: 9}} {
		for _, entry := range read(filter) {
			if entry.Subject != k.ID() || filter.Key != "" && entry.Key != "someone" || filter.Action != "" && entry.Action != filter.Action {
				t.Errorf("%+v gives %+v", filter, entry)
			}
		}
	}
	if entries := read(store.AuditFilter{Key: "nobody", Limit: 9}); len(entries) != 0 {
		t.Errorf("%+v", entries)
	}
	f.sql(`INSERT INTO audit (at, tenant_id, key_id, action, subject) SELECT now() - interval '91 days', $1, 'x', 'y', 'z' FROM generate_series(1, 20001)`, f.tenant)
	keep := 90 * 24 * time.Hour
	for _, want := range []int{20000, 1, 0} {
		if gone := must[int](f)(f.ForgetAudit(t.Context(), keep, 20000)); gone != want {
			t.Errorf("%d are gone, want %d", gone, want)
		}
	}
	if n := f.count(`SELECT count(*) FROM audit`); n != 3 {
		t.Errorf("%d are left", n)
	}
}
