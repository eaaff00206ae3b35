package conformance

import "strings"

// settle waits until a session is what the contract says that the request made
// of it.
func (t *trial) settle(a *attempt) {
	if t.want.after == "" || a.answer.status != t.want.status {
		return
	}
	if t.want.after == gone {
		t.settleGone(a)
		return
	}
	s := a.door.system
	get := request{path: "/api/sessions/" + a.fixture.name, key: a.key}
	var last answer
	if !s.eventually(func() bool {
		last = a.door.ask(get)
		idle := t.want.after == starting || t.want.after == stopped || last.fields["assignedWorker"] != nil
		if t.want.after == stopped {
			idle = last.fields["assignedWorker"] == nil // the holder has let go
		}
		return last.status == 200 && last.text("status") == t.want.after.status() && idle
	}) {
		a.fault("did not become %s: %s", t.want.after, last.body)
		return
	}
	if (last.fields["me"] != nil) != t.kept() {
		a.fault("me is %v afterwards", last.fields["me"])
	}
	if t.in.linked() && t.by != foreign && s.known(a.fixture.jid) != t.kept() {
		a.fault("that WhatsApp knows the device is not %v", t.kept())
	}
}

// settleGone: nothing of a deleted session is left anywhere. That its rows are
// gone from every table is looked at once for all, by nothingLeft.
func (t *trial) settleGone(a *attempt) {
	s, f := a.door.system, a.fixture
	if again := a.door.ask(request{path: "/api/sessions/" + f.name, key: a.key}); again.status != 404 {
		a.fault("is there after its deletion: %d %s", again.status, again.body)
	}
	if !s.eventually(func() bool { return s.count(`SELECT count(*) FROM session WHERE id = $1`, f.id) == 0 }) {
		a.fault("its row is still there")
	}
	if s.hasFiles(*f) {
		a.fault("files are left in DATA_DIR")
	}
	if f.jid != "" && s.known(f.jid) {
		a.fault("WhatsApp still knows the device")
	}
}

// Tables that outlive sessions, on purpose.
const (
	audit   = "public.audit"             // who did what; it has names
	numbers = "public.whatsmeow_lid_map" // which number has which id at WhatsApp, for the whole fleet
)

// nothingLeft looks through the whole database for sessions that are gone.
func (s *system) nothingLeft(trials []*trial) {
	s.Helper()
	for table, text := range s.dump() {
		for _, t := range trials {
			for _, a := range t.at {
				if t.want.after != gone {
					continue
				}
				if table != audit && strings.Contains(text, a.fixture.id) {
					a.fault("table %s still has the session", table)
				}
				if a.fixture.jid != "" && table != numbers && strings.Contains(text, a.fixture.number) {
					a.fault("table %s still has the device", table)
				}
			}
		}
	}
}
