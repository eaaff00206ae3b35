package schema_test

import (
	"context"
	"crypto/rand"
	"errors"
	"net/url"
	"strings"
	"sync"
	"testing"

	"github.com/lib/pq"
	"go.uber.org/goleak"

	"github.com/wafleet/wafleet/shared/pgserver"
	"github.com/wafleet/wafleet/shared/pgtest"
	"github.com/wafleet/wafleet/shared/schema"
	"github.com/wafleet/wafleet/shared/session"
	"github.com/wafleet/wafleet/shared/store"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(pgtest.Wrap(m)) }

// house is an empty database with a master that is no superuser, as RDS gives one.
type house struct {
	*testing.T
	root    *store.Store // the superuser
	rootURL string
	url     string // of the master
	master  string
	app     string
}

func newHouse(t *testing.T) *house {
	t.Helper()
	return newHouseOn(t, pgtest.New(t, nil))
}

func newHouseOn(t *testing.T, rootURL string) *house {
	t.Helper()
	suffix := strings.ToLower(rand.Text())
	h := &house{T: t, rootURL: rootURL, master: "master_" + suffix, app: "app_" + suffix}
	h.root = h.open(h.rootURL, "", "")
	h.sql(h.root, `CREATE ROLE `+h.master+` LOGIN CREATEROLE PASSWORD 'm'`)
	database := `"` + strings.TrimPrefix(h.parsed().Path, "/") + `"`
	h.sql(h.root, `ALTER DATABASE `+database+` OWNER TO `+h.master)
	t.Cleanup(func() {
		for _, role := range []string{h.app, h.app + "_owner", h.master} {
			for _, statement := range []string{`REASSIGN OWNED BY ` + role + ` TO CURRENT_USER`, `DROP OWNED BY ` + role, `DROP ROLE ` + role} {
				_, err := h.root.DB().ExecContext(context.WithoutCancel(t.Context()), statement)
				if missing := new(pq.Error); err != nil && !(errors.As(err, &missing) && missing.Code == "42704") {
					t.Error(err)
				}
			}
		}
	})
	h.url = h.as(h.master, "m")
	return h
}

func (h *house) parsed() *url.URL {
	u, err := url.Parse(h.rootURL)
	if err != nil {
		h.Fatal(err)
	}
	return u
}

func (h *house) as(user, password string) string {
	u := h.parsed()
	u.User = url.UserPassword(user, password)
	return u.String()
}

func (h *house) open(at, role, name string) *store.Store {
	h.Helper()
	s, err := store.Open(at, store.Options{MaxOpen: 2, Role: role, ApplicationName: name})
	if err != nil {
		h.Fatal(err)
	}
	h.Cleanup(func() { s.Close() })
	return s
}

func (h *house) sql(s *store.Store, statement string) {
	h.Helper()
	if _, err := s.DB().ExecContext(h.Context(), statement); err != nil {
		h.Fatalf("%s: %v", statement, err)
	}
}

func (h *house) text(s *store.Store, query string) (text string) {
	h.Helper()
	if err := s.DB().QueryRowContext(h.Context(), query).Scan(&text); err != nil {
		h.Fatalf("%s: %v", query, err)
	}
	return text
}

func (h *house) opener(o store.Options) (*store.Store, error) { return store.Open(h.url, o) }

// migrate is what the program does with DATABASE_APP_USER.
func (h *house) migrate() (owner string) {
	h.Helper()
	owner, err := schema.Admit(h.Context(), h.opener, h.app)
	if err != nil {
		h.Fatal(err)
	}
	version, err := schema.Up(h.Context(), h.opener, owner, nil)
	if err != nil || version < 7 {
		h.Fatalf("version %d, error %v", version, err)
	}
	return owner
}

// login is the app's own, in the place of a token.
func (h *house) login(name string) *store.Store {
	h.Helper()
	h.sql(h.root, `ALTER ROLE `+h.app+` PASSWORD 'a'`)
	return h.open(h.as(h.app, "a"), "", name)
}

const owners = `SELECT string_agg(DISTINCT pg_get_userbyid(c.relowner), ',' ORDER BY pg_get_userbyid(c.relowner))
    FROM pg_class c WHERE c.relnamespace = 'public'::regnamespace AND c.relkind IN ('r', 'p', 'v', 'S')`

func TestTheProgramsHaveARoleOfTheirOwn(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	owner := h.migrate()
	if owner != h.app+"_owner" || h.text(h.root, owners) != owner {
		t.Errorf("owner %q, tables of %q", owner, h.text(h.root, owners))
	}
	app := h.login("app")
	if _, err := app.CreateTenant(t.Context(), "acme"); err != nil {
		t.Errorf("the app writes: %v", err)
	}
	h.sql(app, `CREATE TABLE whatsmeow_of_the_app (x int); ALTER TABLE tenant ADD COLUMN odd int; ALTER TABLE tenant DROP COLUMN odd`)
	// It ends the connections of a dead one of its own, and no others.
	other := h.login("dead")
	if err := other.Ping(t.Context()); err != nil {
		t.Fatal(err)
	}
	if h.text(app, `SELECT count(pg_terminate_backend(pid, 5000))::text FROM pg_stat_activity WHERE application_name = 'dead' AND usename = current_user`) != "1" {
		t.Error("the connection of a dead one is not found")
	}
	// A token's role through which the master could not log in any more.
	if h.text(h.root, `SELECT pg_has_role('`+h.master+`', '`+h.app+`', 'MEMBER')::text`) != "false" {
		t.Error("the master is a member of the app")
	}
	// Again: nothing to do, and the app's own table stays the app's.
	h.migrate()
	if got := h.text(h.root, owners); got != h.app+","+owner {
		t.Errorf("tables of %q", got)
	}
}

// Roles are the server's, so this test has one of its own, which takes tokens as
// RDS does.
func TestTheAppTakesTokensWhereTheServerDoes(t *testing.T) {
	t.Parallel()
	server, err := pgserver.Start(t.Context(), pgserver.Config{Fast: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := server.Stop(context.WithoutCancel(t.Context())); err != nil {
			t.Error(err)
		}
	})
	h := newHouseOn(t, server.URL(""))
	h.sql(h.root, `CREATE ROLE rds_iam NOLOGIN`)
	h.migrate()
	h.migrate()
	if h.text(h.root, `SELECT string_agg(member::regrole::text, ',') FROM pg_auth_members WHERE roleid = 'rds_iam'::regrole`) != h.app {
		t.Error("who takes tokens is not the app alone")
	}
	if h.text(h.root, `SELECT pg_has_role('`+h.master+`', 'rds_iam', 'MEMBER')::text`) != "false" {
		t.Error("the master's password does not work any more")
	}
}

// A deployment that ran as the master before: its tables go over, and what still
// runs as the master goes on.
func TestTablesOfBeforeAreHandedOver(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	if _, err := schema.Up(t.Context(), h.opener, "", nil); err != nil {
		t.Fatal(err)
	}
	master := h.open(h.url, "", "master")
	h.sql(master, `CREATE TABLE whatsmeow_device (id bigserial PRIMARY KEY); CREATE SEQUENCE alone; CREATE VIEW seen AS SELECT 1; CREATE FUNCTION two() RETURNS int LANGUAGE sql AS 'SELECT 2'`)
	tenant, err := master.CreateTenant(t.Context(), "acme")
	if err != nil {
		t.Fatal(err)
	}
	if got := h.text(h.root, owners); got != h.master {
		t.Fatalf("tables of %q", got)
	}
	owner := h.migrate()
	if got := h.text(h.root, owners); got != owner {
		t.Errorf("tables of %q, want %q", got, owner)
	}
	if got := h.text(h.root, `SELECT pg_get_userbyid(proowner) FROM pg_proc WHERE proname = 'two'`); got != owner {
		t.Errorf("the function is %q's", got)
	}
	for name, s := range map[string]*store.Store{"the master": master, "the app": h.login("app")} {
		if _, _, err := s.Start(t.Context(), store.Actor{Tenant: tenant, Key: "k"}, session.Name("s"+name[4:]), nil, session.DefaultConfig(session.Defaults{}), 0); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		h.sql(s, `INSERT INTO whatsmeow_device DEFAULT VALUES`)
	}
}

func TestManyMayMigrateAtOnce(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	var all sync.WaitGroup
	for range 4 {
		all.Go(func() {
			owner, err := schema.Admit(t.Context(), h.opener, h.app)
			if err == nil {
				_, err = schema.Up(t.Context(), h.opener, owner, nil)
			}
			if err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
}

func TestRolesThatCannotBe(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"", "Big", "a b", `a"b`, "1a", "a-b", strings.Repeat("a", 58)} {
		if err := schema.CheckRole(name); err == nil {
			t.Errorf("%q is taken", name)
		}
	}
	h := newHouse(t)
	h.app, h.master = h.master, h.app // the master itself
	if _, err := schema.Admit(t.Context(), h.opener, h.app); err == nil || !strings.Contains(err.Error(), "must not be the one that migrates") {
		t.Errorf("error %v", err)
	}
}
