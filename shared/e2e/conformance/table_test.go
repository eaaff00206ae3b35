package conformance

import (
	"strings"
	"testing"

	"github.com/wafleet/wafleet/functions/httpapi"
)

// state is what a session is in when it is asked about. The first ones are no
// session's.
type state string

const (
	badName state = "bad name" // a name that no session can have
	unknown state = "unknown"  // a name that the tenant has no session of

	stopped       state = "STOPPED"
	stoppedLinked state = "STOPPED, linked"
	starting      state = "STARTING" // and stays so: its proxy never answers
	scan          state = "SCAN_QR_CODE"
	working       state = "WORKING"
	failed        state = "FAILED"         // nobody scanned
	failedLinked  state = "FAILED, linked" // another program uses the device

	gone state = "gone" // after a deletion
)

// status is the word that the API has for a state.
func (s state) status() string {
	switch s {
	case stoppedLinked:
		return string(stopped)
	case failedLinked:
		return string(failed)
	}
	return string(s)
}

// linked reports whether a device belongs to the session.
func (s state) linked() bool { return s == stoppedLinked || s == working || s == failedLinked }

// exists reports whether it is the state of a session.
func (s state) exists() bool { return s != badName && s != unknown && s != gone }

// cell is one answer of the contract.
type cell struct {
	status int
	code   httpapi.Code // of an error
	after  state        // what the session is in afterwards, where the request changes something
}

// table is the contract's answers to the owner of everything. "200 > X" is a
// session that becomes X, "200" changes nothing, and the other words are those
// of refusals. "+" is a session with a linked device.
const table = `
                                   | unknown    | STOPPED    | STOPPED+   | STARTING   | SCAN_QR    | WORKING    | FAILED     | FAILED+
POST   /api/sessions/{s}/start     | 201 > scan | 200 > scan | 200 > work | active     | active     | active     | 200 > scan | 200 > work
POST   /api/sessions/{s}/stop      | not found  | stopped    | stopped    | 200 > stop | 200 > stop | 200 > stop | 200 > stop | 200 > stop
POST   /api/sessions/{s}/restart   | not found  | 200 > scan | 200 > work | 200 > same | 200 > scan | 200 > work | 200 > scan | 200 > work
POST   /api/sessions/{s}/logout    | not found  | no device  | 200 > stop | no device  | no device  | 200 > scan | no device  | 200 > scan
DELETE /api/sessions/{s}           | not found  | 200 > gone | 200 > gone | 200 > gone | 200 > gone | 200 > gone | 200 > gone | 200 > gone
PUT    /api/sessions/{s}           | not found  | 200 > stop | 200 > stop | 200 > scan | 200 > scan | 200 > work | 200 > scan | 200 > work
PUT    /api/sessions/{s} (store)   | not found  | 200 > stop | in use     | 200 > scan | 200 > scan | in use     | 200 > scan | in use
POST   /api/sessions               | 201 > scan | exists     | exists     | exists     | exists     | exists     | exists     | exists
GET    /api/sessions/{s}           | not found  | 200        | 200        | 200        | 200        | 200        | 200        | 200
GET    /api/sessions/{s}/me        | not found  | 200        | 200        | 200        | 200        | 200        | 200        | 200
GET    /api/sessions               | 200        | 200        | 200        | 200        | 200        | 200        | 200        | 200
GET    /api/sessions?all=true      | 200        | 200        | 200        | 200        | 200        | 200        | 200        | 200
GET    /api/{s}/auth/qr            | not found  | status     | status     | status     | 200        | status     | status     | status
GET    /api/sessions/{s}/qrcode    | not found  | status     | status     | status     | 200        | status     | status     | status
POST   /api/{s}/auth/request-code  | not found  | status     | status     | status     | 200 > scan | status     | status     | status
`

// columns are those of the table; a bad name has the same answer everywhere.
var columns = []state{unknown, stopped, stoppedLinked, starting, scan, working, failed, failedLinked}

// words are those of the table.
var words = map[string]cell{
	"200":        {status: 200},
	"200 > scan": {status: 200, after: scan},
	"200 > work": {status: 200, after: working},
	"200 > stop": {status: 200, after: stopped},
	"200 > same": {status: 200, after: starting},
	"200 > gone": {status: 200, after: gone},
	"201 > scan": {status: 201, after: scan},

	"not found": {status: 404, code: httpapi.CodeSessionNotFound},
	"active":    {status: 409, code: httpapi.CodeSessionActive},
	"stopped":   {status: 409, code: httpapi.CodeSessionStopped},
	"in use":    {status: 409, code: httpapi.CodeStoreInUse},
	"no device": {status: 409, code: httpapi.CodeNotAuthenticated},
	"exists":    {status: 422, code: httpapi.CodeSessionExists},
	"status":    {status: 422, code: httpapi.CodeWrongStatus},
}

// Refusals that are in no cell, because they are the same in a whole row.
var (
	invalid   = cell{status: 400, code: httpapi.CodeInvalidRequest}
	noKey     = cell{status: 401, code: httpapi.CodeKeyMissing}
	wrongKey  = cell{status: 401, code: httpapi.CodeKeyInvalid}
	forbidden = cell{status: 403, code: httpapi.CodeForbidden}
)

// kind is what a request does, as far as the rights of keys are concerned.
type kind int

const (
	act    kind = iota // changes a session
	create             // makes one; its name is in the body
	read
	list
	code // gets a credential for linking
)

// endpoint is one row. {s} in the path stands for the name.
type endpoint struct {
	row          string // as in the table
	method, path string
	is           kind
	body         func(fixture) string // nil for none
	message      string               // of its success
	unlinks      bool                 // makes WhatsApp forget the device
	answers      map[state]cell
}

// about is what the table does not say of a row.
var about = map[string]endpoint{
	"POST   /api/sessions/{s}/start":    {message: "Session started successfully"},
	"POST   /api/sessions/{s}/stop":     {message: "Session paused successfully"},
	"POST   /api/sessions/{s}/restart":  {message: "Session restarted successfully"},
	"POST   /api/sessions/{s}/logout":   {message: "Logout performed successfully", unlinks: true},
	"DELETE /api/sessions/{s}":          {message: "Session deleted successfully", unlinks: true},
	"PUT    /api/sessions/{s}":          {message: "Session updated successfully", body: newConfig},
	"PUT    /api/sessions/{s} (store)":  {message: "Session updated successfully", body: otherStore},
	"POST   /api/sessions":              {message: "Session created successfully", is: create, body: creation},
	"GET    /api/sessions/{s}":          {is: read},
	"GET    /api/sessions/{s}/me":       {is: read},
	"GET    /api/sessions":              {is: list},
	"GET    /api/sessions?all=true":     {is: list},
	"GET    /api/{s}/auth/qr":           {is: code},
	"GET    /api/sessions/{s}/qrcode":   {is: code},
	"POST   /api/{s}/auth/request-code": {is: code, body: phone},
}

// rows reads the table.
func rows(t testing.TB) (all []endpoint) {
	t.Helper()
	for line := range strings.SplitSeq(strings.TrimSpace(table), "\n") {
		cells := strings.Split(line, "|")
		e, known := about[strings.TrimSpace(cells[0])]
		if e.row = strings.TrimSpace(cells[0]); !known {
			if len(all) == 0 {
				continue // the head of the table
			}
			t.Fatalf("nothing is said about %q", e.row)
		}
		e.method, e.path, _ = strings.Cut(e.row, " ")
		e.path, _, _ = strings.Cut(strings.TrimSpace(e.path), " ")
		e.answers = map[state]cell{badName: invalid}
		if e.is == list {
			e.answers[badName] = words["200"]
		}
		for i, column := range columns {
			word := strings.TrimSpace(cells[i+1])
			if e.answers[column], known = words[word]; !known {
				t.Fatalf("%s: no word %q", e.row, word)
			}
		}
		all = append(all, e)
	}
	if len(all) != len(about) {
		t.Fatalf("%d rows, want %d", len(all), len(about))
	}
	return all
}

// caller is who asks.
type caller string

const (
	owner     caller = "the tenant's key"
	nobody    caller = "no key"
	foreign   caller = "another tenant's key"
	revoked   caller = "a revoked key"
	member    caller = "a key of scope tenant"
	bound     caller = "a key for this session"
	elsewhere caller = "a key for another session"
	reader    caller = "a read-only key"
)

var callers = []caller{owner, nobody, foreign, revoked, member, bound, elsewhere, reader}

// answer is the contract's answer to a caller: what it may comes before what
// there is, and a malformed name before both.
func (e endpoint) answer(by caller, in state) cell {
	named := e.is != list && e.is != create
	switch by {
	case nobody:
		return noKey
	case revoked:
		return wrongKey
	case foreign:
		if in != badName {
			in = unknown
		}
	case bound:
		if e.is == create {
			return forbidden
		}
	case elsewhere:
		switch {
		case named && in != badName:
			return words["not found"]
		case e.is == create:
			return forbidden
		}
	case reader:
		if (e.is == act || e.is == code) && in != badName || e.is == create {
			return forbidden
		}
	}
	return e.answers[in]
}

// sees reports whether a list shows a session to the caller.
func (e endpoint) sees(by caller, in state) bool {
	all := e.path != "/api/sessions"
	return in.exists() && by != foreign && by != elsewhere && (all || in.status() != string(stopped))
}
