package chaos

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/lib/pq"
)

// presence is whether the API has a session. It is in doubt while changes is odd.
type presence struct {
	gone    bool
	changes int
}

func (s *state) presence() presence {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.there
}

// known reports whether nobody is making or deleting the session.
func (p presence) known() bool { return p.changes%2 == 0 }

// grave is a device that no user wants any more, and the session that it was of
// where that is deleted.
type grave struct {
	name, session, jid string // session or jid may be empty
}

// ask sends a request about a session that must be answered with one of the
// codes; ok says that it was.
func (f *fleet) ask(ctx context.Context, s *state, method, verb, body string, codes ...int) (code int, ok bool) {
	path := "/api/sessions/" + s.name
	if verb != "" {
		path += "/" + verb
	}
	code, answer := f.call(ctx, method, path, body)
	if ok = slices.Contains(codes, code); !ok && code != 0 {
		f.Errorf("%s %s answered %d %s", method, path, code, answer)
	}
	return code, ok
}

// restartByAPI and update keep what is wanted in sight: whoever reads after the
// answer must see it.
func (d *driver) restartByAPI(ctx context.Context, s *state) { d.want(ctx, s, true, "restart", "") }

// update changes the log level, back and forth.
func (d *driver) update(ctx context.Context, s *state, n int) {
	s.asking.Lock()
	defer s.asking.Unlock()
	if s.presence().gone {
		return
	}
	level := []string{"INFO", "DEBUG"}[n%2]
	_, ok := d.ask(ctx, s, http.MethodPut, "", bodyOf(s.store, level), http.StatusOK)
	s.mu.Lock()
	wanted := s.wanted
	s.mu.Unlock()
	if !ok {
		return
	}
	if status, _ := d.status(ctx, s.name); status != "" && (status == "STOPPED") == wanted {
		d.Errorf("%s is %s after its update, wanted %v", s.name, status, wanted)
	}
}

// logOut unlinks the device; a conflict says that there is none.
func (d *driver) logOut(ctx context.Context, s *state) {
	s.asking.Lock()
	defer s.asking.Unlock()
	if s.presence().gone {
		return
	}
	s.mu.Lock()
	s.fresh = true
	s.mu.Unlock()
	device := d.watch.device(s.name)
	if code, _ := d.ask(ctx, s, http.MethodPost, "logout", "", http.StatusOK, http.StatusConflict); code == http.StatusOK {
		d.bury(grave{name: s.name, jid: device})
	}
}

// remove deletes a session. That it is not there says that the answer of an
// earlier attempt was lost.
func (d *driver) remove(ctx context.Context, s *state) {
	s.asking.Lock()
	defer s.asking.Unlock()
	if s.presence().gone {
		return
	}
	s.change(func() { s.fresh = true })
	device, id := d.watch.device(s.name), d.watch.id(s.name)
	_, ok := d.ask(ctx, s, http.MethodDelete, "", "", http.StatusOK, http.StatusNotFound)
	s.change(func() {
		if ok {
			s.there.gone, s.wanted, s.jid = true, false, ""
		}
	})
	if !ok {
		return
	}
	d.bury(grave{s.name, id, device})
	if code, answer := d.call(ctx, http.MethodGet, "/api/sessions/"+s.name, ""); code != 0 && code != http.StatusNotFound {
		d.Errorf("%s is deleted and shown: %d %s", s.name, code, answer)
	}
}

// revive makes a session anew where it is deleted.
func (d *driver) revive(ctx context.Context, s *state) {
	s.asking.Lock()
	defer s.asking.Unlock()
	if !s.presence().gone {
		return
	}
	s.change(func() {})
	body := fmt.Sprintf(`{"name":%q,%s`, s.name, bodyOf(s.store, "DEBUG")[1:])
	code, answer := d.call(ctx, http.MethodPost, "/api/sessions", body)
	made := code == http.StatusCreated || code == http.StatusUnprocessableEntity // there since an attempt whose answer was lost
	if !made && code != 0 {
		d.Errorf("%s could not be created again: %d %s", s.name, code, answer)
	}
	s.change(func() {
		if made {
			s.there.gone, s.wanted, s.unlinked = false, true, false
		}
	})
}

// change begins or ends a time in which it is not known whether the API has the
// session.
func (s *state) change(what func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.there.changes++
	what()
}

// scanAgain lets the phone link a session that was logged out or made anew, as
// far as what is broken lets it.
func (d *driver) scanAgain(ctx context.Context, s *state, limit time.Duration) error {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	for {
		status, reason := d.status(ctx, s.name)
		var err error
		switch status {
		case "WORKING":
			return nil
		case "SCAN_QR_CODE":
			s.mu.Lock()
			s.scanned = true
			s.mu.Unlock()
			if err = d.link(ctx, s); err == nil {
				err = fmt.Errorf("not yet")
			}
		case "STOPPED", "":
			return fmt.Errorf("it is not wanted any more")
		case "FAILED":
			return fmt.Errorf("it failed with %s", reason)
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("it is %s: %w", status, err)
		case <-time.After(pause):
		}
	}
}

// scanAll links what is left without a device, once nothing is broken any more.
func (d *driver) scanAll(ctx context.Context) {
	for name, s := range d.sessions {
		s.mu.Lock()
		scan, before := s.fresh && s.wanted && !s.there.gone && !s.waiting, s.jid
		s.mu.Unlock()
		if !scan {
			continue
		}
		var err error
		for range 3 { // it may fail with what was left halfway
			if status, _ := d.status(ctx, name); status == "FAILED" {
				d.start(ctx, s, "")
			}
			if err = d.scanAgain(ctx, s, healTime); err == nil {
				break
			}
		}
		if err != nil {
			d.Errorf("%s could not be linked again: %v\n%s", name, err, d.watch.story(name))
		}
		s.mu.Lock()
		s.fresh = s.jid == before // else it has to work with that device
		s.mu.Unlock()
	}
}

// device is the one that the database had at the last look, and id the session.
func (w *watch) device(name string) string { return w.lastSight(name).jid }
func (w *watch) id(name string) string     { return w.lastSight(name).id }

func (w *watch) lastSight(name string) sight {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.last[name]
}

func (f *fleet) bury(g grave) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.graves = append(f.graves, g)
}

func (f *fleet) allGraves() []grave {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.graves)
}

// haunting says what is left of devices and sessions that nobody wants, first in
// the database, then on disk, then at WhatsApp.
func (f *fleet) haunting(ctx context.Context) string {
	var jids, ids []string
	for _, g := range f.allGraves() {
		if g.jid != "" {
			jids = append(jids, g.jid)
		}
		if g.session != "" {
			ids = append(ids, g.session)
		}
	}
	var left json.RawMessage
	err := f.db.QueryRowContext(ctx, `SELECT json_build_object(
		'deleted', (SELECT json_agg(id) FROM session WHERE deleted_at IS NOT NULL OR id = ANY ($2::uuid[])),
		'unlinking', (SELECT json_agg(s.name) FROM session s JOIN session_run r ON r.session_id = s.id WHERE s.unlink_generation > r.linked_generation AND r.jid IS NOT NULL),
		'run', (SELECT json_agg(jid) FROM session_run WHERE jid = ANY ($1)),
		'device', (SELECT json_agg(jid) FROM whatsmeow_device WHERE jid = ANY ($1)),
		'tokens', (SELECT json_agg(our_jid) FROM whatsmeow_privacy_tokens WHERE our_jid = ANY ($1)))`,
		pq.Array(jids), pq.Array(ids)).Scan(&left)
	if err != nil {
		return err.Error()
	}
	if text := string(left); text != `{"deleted" : null, "unlinking" : null, "run" : null, "device" : null, "tokens" : null}` {
		return "what is logged out or deleted is left in the database: " + text
	}
	for _, id := range ids {
		if found, _ := filepath.Glob(filepath.Join(f.devices, "*", id)); len(found) != 0 {
			if entries, _ := os.ReadDir(found[0]); len(entries) != 0 {
				return fmt.Sprintf("what is deleted is left on disk: %v has %v", found, entries)
			}
			return fmt.Sprintf("what is deleted is left on disk: %v", found)
		}
	}
	for _, device := range f.sim.Devices() {
		if i := slices.IndexFunc(f.allGraves(), func(g grave) bool { return g.jid == device.JID }); i >= 0 && !f.mayStayLinked(f.allGraves()[i].name) {
			return fmt.Sprintf("%s of %s is linked at WhatsApp", device.JID, f.allGraves()[i].name)
		}
	}
	return ""
}

// mayStayLinked: five refused logins in a row end the attempts to unlink.
func (f *fleet) mayStayLinked(name string) bool {
	s := f.sessions[name]
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.refused > 1
}

// bodyOf is a config with a store of a dialect.
func bodyOf(dialect, level string) string {
	store := `{"dialect":"postgres"}`
	if dialect == "sqlite3" {
		store = `{"dialect":"sqlite3","address":"/app/data/whatsmeow.db"}`
	}
	return fmt.Sprintf(`{"config":{"store":%s,"log":{"level":%q}}}`, store, level)
}
