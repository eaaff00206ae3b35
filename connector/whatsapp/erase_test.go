package whatsapp

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/wafleet/wafleet/connector/event"
	"github.com/wafleet/wafleet/shared/session"
	"github.com/wafleet/wafleet/shared/wasim"
)

var bothDialects = []session.Dialect{session.SQLite, session.Postgres}

func TestWhatsAppForgetsADevice(t *testing.T) {
	t.Parallel()
	r := newRig(t, func(s *wasim.Server) { s.FinalDelay = patience }) // whatsmeow removes the device too, once it is told
	h := r.open(session.Postgres)
	jid := h.pair("5511999990701")
	conn := h.login(jid)
	r.must(conn.Unlink(t.Context(), jid))
	if left := r.sim.Devices(); len(left) != 0 {
		t.Errorf("linked at WhatsApp: %+v", left)
	}
	if devices := h.rowsOf(jid)["whatsmeow_device"]; devices != 1 {
		t.Errorf("%d devices here: its removal is the caller's", devices)
	}
	conn.Close()
	r.noSockets()
}

// What keeps WhatsApp from forgetting is told, promptly.
func TestUnlinkFails(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		trouble func(h *holding, conn *Conn, jid string)
		patient bool   // asks for longer than any test
		device  string // empty: the own one
	}{
		"never answered": {trouble: func(h *holding, _ *Conn, jid string) { mute(h, jid) }},
		"connection lost": {patient: true, trouble: func(h *holding, _ *Conn, jid string) {
			mute(h, jid)
			go func() { _, _ = h.sim.Drop(jid, wasim.DropRST) }()
		}},
		"closed here":         {patient: true, trouble: func(_ *holding, conn *Conn, _ string) { conn.Close() }},
		"unknown at WhatsApp": {patient: true, trouble: func(*holding, *Conn, string) {}, device: "5511999990702:77@s.whatsapp.net"},
		"malformed":           {patient: true, trouble: func(*holding, *Conn, string) {}, device: "a:b:c@d"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t)
			h := r.open(session.Postgres)
			jid := h.pair("5511999990702")
			conn := h.login(jid)
			limit := time.Second
			if c.patient {
				limit = patience
			}
			ctx, cancel := context.WithTimeout(t.Context(), limit)
			defer cancel()
			c.trouble(h, conn, jid)
			device := jid
			if c.device != "" {
				device = c.device
			}
			began := time.Now()
			if err := conn.Unlink(ctx, device); err == nil {
				t.Error("it was unlinked")
			}
			if took := time.Since(began); took > limit/2+5*time.Second {
				t.Errorf("told after %v", took)
			}
			if left := r.sim.Devices(); len(left) != 1 || left[0].JID != jid {
				t.Errorf("linked at WhatsApp: %+v", left)
			}
		})
	}
}

func mute(h *holding, jid string) {
	h.Helper()
	if n, err := h.sim.Silent(jid, wasim.SilenceMute); err != nil || n != 1 {
		h.Fatal(n, err)
	}
}

// database is where the holding's device is.
func (h *holding) database() *sql.DB {
	if h.file != nil {
		return h.file
	}
	return h.fleet.DB()
}

// columns is those of every table of whatsmeow's, with their types in small
// letters.
func (h *holding) columns() map[string]map[string]string {
	h.Helper()
	query := `SELECT table_name, column_name, data_type FROM information_schema.columns WHERE table_schema = current_schema() AND table_name LIKE 'whatsmeow%'`
	if h.file != nil {
		query = `SELECT m.name, p.name, p.type FROM sqlite_master m, pragma_table_info(m.name) p WHERE m.type = 'table' AND m.name LIKE 'whatsmeow%'`
	}
	rows, err := h.database().QueryContext(h.Context(), query)
	h.must(err)
	defer rows.Close()
	tables := map[string]map[string]string{}
	for rows.Next() {
		var table, column, kind string
		h.must(rows.Scan(&table, &column, &kind))
		if tables[table] == nil {
			tables[table] = map[string]string{}
		}
		tables[table][column] = strings.ToLower(kind)
	}
	h.must(rows.Err())
	return tables
}

// rowsOf counts the rows that name a device in whatever column, by table.
func (h *holding) rowsOf(jid string) map[string]int {
	h.Helper()
	found := map[string]int{}
	for table, columns := range h.columns() {
		for column, kind := range columns {
			if kind != "text" {
				continue
			}
			var n int
			h.must(h.database().QueryRowContext(h.Context(), fmt.Sprintf(`SELECT count(*) FROM %s WHERE %s = '%s'`, table, column, jid)).Scan(&n))
			if n > 0 {
				found[table] += n
			}
		}
	}
	return found
}

// fill puts a row of the device into every table that may have one.
func (h *holding) fill(jid string) {
	h.Helper()
	tables, empty := h.columns(), 0
	for range 2 { // some refer to others
		empty = 0
		for table, columns := range tables {
			if columns["our_jid"]+columns["jid"] == "" || h.rowsOf(jid)[table] > 0 {
				continue
			}
			var names, values []string
			for column, kind := range columns {
				names, values = append(names, column), append(values, h.value(column, kind, jid))
			}
			statement := fmt.Sprintf(`INSERT INTO %s (%s) VALUES (%s)`, table, strings.Join(names, ", "), strings.Join(values, ", "))
			if _, err := h.database().ExecContext(h.Context(), statement); err != nil {
				empty++
				h.Logf("%s: %v", table, err)
			}
		}
	}
	if n := len(h.rowsOf(jid)); empty > 0 || n < 12 {
		h.Fatalf("%d tables have rows of the device, %d could not be filled", n, empty)
	}
}

// value is what a column accepts.
func (h *holding) value(column, kind, jid string) string {
	size := 32
	if column == "hash" {
		size = 128
	}
	switch {
	case column == "jid" || column == "our_jid":
		return "'" + jid + "'"
	case kind == "bytea" && h.file != nil:
		return fmt.Sprintf("zeroblob(%d)", size)
	case kind == "bytea":
		return fmt.Sprintf("decode(repeat('00', %d), 'hex')", size)
	case kind == "text":
		return "'x'"
	case kind == "boolean":
		return "false"
	}
	return "1"
}

func (h *holding) wantNothingOf(jid string) {
	h.Helper()
	if left := h.rowsOf(jid); len(left) != 0 {
		h.Errorf("left of the device: %v", left)
	}
}

func TestForgettingADeviceLeavesNoRowOfIt(t *testing.T) {
	t.Parallel()
	for _, dialect := range bothDialects {
		t.Run(string(dialect), func(t *testing.T) {
			t.Parallel()
			r := newRig(t)
			h := r.open(dialect)
			other := h.pair("5511999990711")
			jid := h.pair("5511999990712")
			h.fill(other)
			h.fill(jid)
			before := h.rowsOf(other)
			r.must(h.Forget(t.Context(), jid))
			h.wantNothingOf(jid)
			if after := h.rowsOf(other); fmt.Sprint(after) != fmt.Sprint(before) {
				t.Errorf("of another device %v is left, was %v", after, before)
			}
			r.must(h.Forget(t.Context(), jid)) // again
			if _, err := h.Connect(t.Context(), jid, func(event.Event) {}); !errors.Is(err, event.ErrNoDevice) {
				t.Errorf("connects: %v", err)
			}
		})
	}
}

// The same where the phone's owner unlinks it.
// The client of a connection that is closed may still be at work: what it saves
// then must not bring the device back.
func TestAForgottenDeviceStaysForgotten(t *testing.T) {
	t.Parallel()
	for _, dialect := range bothDialects {
		t.Run(string(dialect), func(t *testing.T) {
			t.Parallel()
			r := newRig(t)
			h := r.open(dialect)
			jid := h.pair("5511999990714")
			conn := h.login(jid)
			old := conn.client.Store
			conn.Close()
			r.must(h.Forget(t.Context(), jid))
			for name, write := range map[string]error{
				"the device": old.Save(context.Background()), "an identity": old.Identities.PutIdentity(context.Background(), "1:0", [32]byte{1}),
			} {
				if !errors.Is(write, errTermEnded) {
					t.Errorf("%s is written: %v", name, write)
				}
			}
			h.wantNothingOf(jid)
			if again := h.pair("5511999990714"); again == jid {
				t.Errorf("linked as %s again", again)
			}
		})
	}
}

func TestADeviceThatIsLoggedOutLeavesNoRow(t *testing.T) {
	t.Parallel()
	for _, dialect := range bothDialects {
		t.Run(string(dialect), func(t *testing.T) {
			t.Parallel()
			r := newRig(t)
			h := r.open(dialect)
			jid := h.pair("5511999990713")
			conn := h.login(jid)
			h.fill(jid)
			r.must(r.sim.Logout(jid))
			await[event.LoggedOut](h)
			conn.Close()
			h.wantNothingOf(jid)
		})
	}
}

func TestNothingIsForgottenOrErasedAfterTheTerm(t *testing.T) {
	t.Parallel()
	for _, dialect := range bothDialects {
		t.Run(string(dialect), func(t *testing.T) {
			t.Parallel()
			r := newRig(t)
			h := r.open(dialect)
			jid := h.pair("5511999990721")
			r.must(os.MkdirAll(h.directory(), 0o700))
			before := h.rowsOf(jid)
			h.over.Store(true)
			if err := h.Forget(t.Context(), jid); !errors.Is(err, session.ErrFenced) {
				t.Errorf("forget: %v", err)
			}
			if after := h.rowsOf(jid); len(before) == 0 || fmt.Sprint(after) != fmt.Sprint(before) {
				t.Errorf("left: %v, was %v", after, before)
			}
			if err := h.Erase(t.Context(), jid); !errors.Is(err, session.ErrFenced) {
				t.Errorf("erase: %v", err)
			}
			if _, err := os.Stat(h.directory()); err != nil {
				t.Error(err)
			}
		})
	}
}

// directory is where the session keeps its files.
func (h *holding) directory() string {
	return filepath.Join(h.dataDir, string(h.term.Tenant), string(h.term.ID))
}

func (r *rig) write(path ...string) string {
	r.Helper()
	file := filepath.Join(path...)
	r.must(os.MkdirAll(filepath.Dir(file), 0o700))
	r.must(os.WriteFile(file, []byte("mine"), 0o600))
	return file
}

func (r *rig) wantGone(path string) {
	r.Helper()
	if _, err := os.Lstat(path); !errors.Is(err, os.ErrNotExist) {
		r.Errorf("%s is there: %v", path, err)
	}
}

func (r *rig) wantThere(path string) {
	r.Helper()
	if _, err := os.Stat(path); err != nil {
		r.Error(err)
	}
}

// sameSession opens a holding of the session of another, maybe elsewhere.
func (h *holding) sameSession(dialect session.Dialect) *holding {
	h.Helper()
	again, err := h.as(func(term *Term) {
		term.ID, term.Tenant, term.Config.Store.Dialect = h.term.ID, h.term.Tenant, dialect
	})
	h.must(err)
	return again
}

func TestErasingRemovesEveryFileOfASession(t *testing.T) {
	t.Parallel()
	for _, dialect := range bothDialects { // of the store that it has in the end
		t.Run(string(dialect), func(t *testing.T) {
			t.Parallel()
			r := newRig(t)
			h := r.open(session.SQLite)
			jid := h.pair("5511999990731")
			neighbour, err := r.as(func(term *Term) { term.Tenant = h.term.Tenant })
			r.must(err)
			r.must(h.Close())
			if dialect == session.Postgres {
				jid = ""
			}
			again := h.sameSession(dialect)
			if dialect == session.Postgres {
				jid = again.pair("5511999990732")
			}
			for _, name := range []string{"whatsmeow.db~1", "whatsmeow.db~1-wal", "sub/old.db", "whatsmeow.db.copy-7"} {
				r.write(h.directory(), name)
			}
			r.must(again.Erase(t.Context(), jid))
			r.wantGone(h.directory())
			r.wantThere(filepath.Join(neighbour.directory(), "whatsmeow.db"))
			if dialect == session.Postgres {
				again.wantNothingOf(jid)
			}
			r.must(again.sameSession(session.Postgres).Erase(t.Context(), "")) // nothing is there
		})
	}
}

func TestErasingFollowsNoLink(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	h := r.open(session.Postgres)
	precious := r.write(t.TempDir(), "precious")
	within := r.write(r.dataDir, string(h.term.Tenant), string(session.NewID()), "precious")
	for _, target := range []string{filepath.Dir(precious), filepath.Dir(within), filepath.Base(filepath.Dir(within))} {
		again := h.sameSession(session.Postgres)
		r.must(os.Symlink(target, h.directory()))
		r.must(again.Erase(t.Context(), ""))
		r.wantGone(h.directory())
	}
	r.wantThere(precious)
	r.wantThere(within)

	outside := r.open(session.Postgres) // the tenant's directory leads out
	trap := r.write(t.TempDir(), string(outside.term.ID), "precious")
	r.must(os.Symlink(filepath.Dir(filepath.Dir(trap)), filepath.Join(r.dataDir, string(outside.term.Tenant))))
	if err := outside.Erase(t.Context(), ""); err == nil {
		t.Error("it followed a link that leads out of DATA_DIR")
	}
	r.wantThere(trap)
}

func TestADeletedSessionWithABrokenStoreIsErased(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	term := Term{ID: session.NewID(), Tenant: session.NewTenantID(), Config: session.DefaultConfig(session.Defaults{}), Held: func() error { return nil }, Log: r.log.logger(slog.LevelInfo)}
	own := filepath.Join(r.dataDir, string(term.Tenant), string(term.ID))
	r.must(os.WriteFile(r.write(own, "whatsmeow.db"), []byte(strings.Repeat("this is no database", 400)), 0o600))
	if d, err := r.devices.Open(t.Context(), term); err == nil {
		d.Close()
		t.Fatal("it was opened")
	}
	d, err := r.devices.OpenToErase(t.Context(), term)
	r.must(err)
	const jid = "5511999990741:1@s.whatsapp.net"
	if _, err := d.Connect(t.Context(), jid, nil); !errors.Is(err, event.ErrStore) {
		t.Errorf("connect: %v", err)
	}
	r.must(d.Erase(t.Context(), jid))
	r.wantGone(own)

	nowhere, err := New(Config{Endpoint: r.endpoint(), DB: r.fleet.DB()}, r.fleet, r.log.logger(slog.LevelInfo))
	r.must(err)
	if _, err := nowhere.OpenToErase(t.Context(), term); err == nil {
		t.Error("a connector without DATA_DIR says that it can erase files")
	}
}
