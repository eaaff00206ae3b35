package conformance

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"regexp"
	"slices"
	"strings"
)

// securityHeaders are in every answer of the API.
var securityHeaders = map[string]string{
	"Cache-Control":             "no-store",
	"X-Content-Type-Options":    "nosniff",
	"X-Frame-Options":           "DENY",
	"Referrer-Policy":           "no-referrer",
	"Content-Security-Policy":   "default-src 'none'; frame-ancestors 'none'",
	"Strict-Transport-Security": "max-age=31536000",
}

// ownHeaders differ between any two answers, or belong to a server.
var ownHeaders = []string{"Date", "Content-Length", "X-Request-Id", "Apigw-Requestid", "Etag"}

// sinceThen are fields that fill as time passes; null is as good as a value.
var sinceThen = []string{"assignedWorker", "lastSeenAlive", "statusReason"}

// check compares an answer with the contract.
func (t *trial) check(a *attempt) {
	got := a.answer
	if got.status != t.want.status || got.code() != string(t.want.code) {
		a.fault("%d %s, want %d %s: %s", got.status, got.code(), t.want.status, t.want.code, got.body)
		return
	}
	for name, want := range securityHeaders {
		if got.header.Get(name) != want {
			a.fault("header %s is %q, want %q", name, got.header.Get(name), want)
		}
	}
	if got.header.Get("Content-Type") != "application/json; charset=utf-8" || got.header.Get("X-Request-Id") == "" {
		a.fault("headers %v", got.header)
	}
	switch {
	case t.want.code != "":
		t.checkError(a)
	case t.is == list:
		t.checkList(a)
	case t.is == code:
		t.checkCode(a)
	case strings.HasSuffix(t.path, "/me"):
		t.checkMe(a)
	default:
		t.checkSession(a)
	}
}

func (t *trial) checkError(a *attempt) {
	got := a.answer.fields
	if got["success"] != false || got["statusCode"] != float64(t.want.status) || got["error"] != http.StatusText(t.want.status) ||
		got["message"] == "" || got["requestId"] != a.answer.header.Get("X-Request-Id") {
		a.fault("error body %s", a.answer.body)
	}
	if t.want.code == words["status"].code && (got["status"] != t.in.status() || fmt.Sprint(got["expected"]) != "[SCAN_QR_CODE]") {
		a.fault("error body %s, want status %s", a.answer.body, t.in.status())
	}
	if (a.answer.header.Get("WWW-Authenticate") != "") != (t.want.status == http.StatusUnauthorized) {
		a.fault("WWW-Authenticate is %q", a.answer.header.Get("WWW-Authenticate"))
	}
}

func (t *trial) checkSession(a *attempt) {
	got, f := a.answer.fields, a.fixture
	if got["session"] != f.name || got["name"] != f.name {
		a.fault("the session of %s", a.answer.body)
	}
	if t.message != "" && (got["success"] != true || got["message"] != t.message) {
		a.fault("success %v, message %v", got["success"], got["message"])
	}
	// A request that the holder has not seen yet shows what is wanted.
	status := map[state]string{scan: "STARTING", working: "STARTING", starting: "STARTING", stopped: "STOPPED", gone: "STOPPED", "": t.in.status()}[t.want.after]
	if got["status"] != status {
		a.fault("status %v, want %s", got["status"], status)
	}
	if (got["me"] != nil) != t.kept() || got["authenticated"] != (t.kept() && status == string(working)) {
		a.fault("me %v, authenticated %v", got["me"], got["authenticated"])
	}
	for _, field := range []string{"statusReason", "assignedWorker", "config"} {
		if _, ok := got[field]; !ok {
			a.fault("no field %s in %s", field, a.answer.body)
		}
	}
}

func (t *trial) checkMe(a *attempt) {
	if !t.in.linked() {
		if strings.TrimSpace(string(a.answer.body)) != "null" {
			a.fault("me is %s, want null", a.answer.body)
		}
		return
	}
	if a.answer.text("id") != a.fixture.number+"@c.us" {
		a.fault("me is %s, want %s", a.answer.body, a.fixture.number)
	}
}

func (t *trial) checkList(a *attempt) {
	var sessions []struct{ Name, Status string }
	if err := json.Unmarshal(a.answer.body, &sessions); err != nil {
		a.fault("a list: %v", err)
		return
	}
	at := slices.IndexFunc(sessions, func(one struct{ Name, Status string }) bool { return one.Name == a.fixture.name })
	if (at >= 0) != t.sees(t.by, t.in) {
		a.fault("%s is at %d of %d in the list", a.fixture.name, at, len(sessions))
	}
	if at >= 0 && sessions[at].Status != t.in.status() {
		a.fault("the list shows %s, want %s", sessions[at].Status, t.in.status())
	}
}

var pairingCode = regexp.MustCompile(`^[1-9A-Z]{4}-[1-9A-Z]{4}$`)

// checkCode also notes the credential: it must not be found anywhere later.
func (t *trial) checkCode(a *attempt) {
	if t.method == http.MethodPost {
		if !pairingCode.MatchString(a.answer.text("code")) {
			a.fault("pairing code %s", a.answer.body)
		}
		a.door.secret(a.answer.text("code"))
		a.door.secret(a.fixture.number)
		return
	}
	got := a.answer.fields
	if got["mimetype"] != "image/png" || a.answer.text("value") == "" || a.answer.text("data") == "" || a.answer.text("expiresAt") == "" {
		a.fault("QR code %s", a.answer.body)
	}
	a.door.secret(a.answer.text("value"))
}

// compare holds the two doors against each other.
func (t *trial) compare() (faults []string) {
	first, second := t.at[0].answer, t.at[1].answer
	if first.status != second.status || first.code() != second.code() {
		faults = append(faults, fmt.Sprintf("the doors answer %d %s and %d %s", first.status, first.code(), second.status, second.code()))
	}
	if one, other := shapeOf(first.body), shapeOf(second.body); one != other && t.is != list {
		faults = append(faults, fmt.Sprintf("the bodies have the shapes %s and %s", one, other))
	}
	return append(faults, compareHeaders(first.header, second.header)...)
}

func compareHeaders(first, second http.Header) (faults []string) {
	names := slices.Sorted(maps.Keys(first))
	names = append(names, slices.Sorted(maps.Keys(second))...)
	for _, name := range slices.Compact(names) {
		one, other := strings.Join(first[name], ", "), strings.Join(second[name], ", ")
		if one != other && !slices.Contains(ownHeaders, name) {
			faults = append(faults, fmt.Sprintf("the header %s is %q and %q", name, one, other))
		}
	}
	return faults
}

// shapeOf is a body's fields and their types, without the values. Of a list it
// is the first member's.
func shapeOf(body []byte) string {
	var value any
	if json.Unmarshal(body, &value) != nil {
		return "no JSON"
	}
	return shape(value)
}

func shape(value any) string {
	switch value := value.(type) {
	case map[string]any:
		fields := make([]string, 0, len(value))
		for _, name := range slices.Sorted(maps.Keys(value)) {
			kind := shape(value[name])
			if slices.Contains(sinceThen, name) {
				kind = "?"
			}
			fields = append(fields, name+":"+kind)
		}
		return "{" + strings.Join(fields, ",") + "}"
	case []any:
		if len(value) == 0 {
			return "[]"
		}
		return "[" + shape(value[0]) + "]"
	case nil:
		return "null"
	}
	return fmt.Sprintf("%T", value)
}
