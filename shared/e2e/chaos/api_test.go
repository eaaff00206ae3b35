package chaos

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"time"
)

// patience is how long a caller tries again while the API or its database is
// away.
const patience = 30 * time.Second

// calls counts what callers meet.
type calls struct{ answered, unavailable, unreachable atomic.Int64 }

// call sends a request as often as it takes: until the API is there and does
// not say 503, as it does while its database is away. The code is 0 where ctx
// ended before.
func (f *fleet) call(ctx context.Context, method, path, body string) (code int, answer []byte) {
	for end := time.Now().Add(patience); ; time.Sleep(pause) {
		code, answer, err := f.send(ctx, method, path, body)
		switch {
		case ctx.Err() != nil:
			return 0, nil
		case err != nil:
			f.calls.unreachable.Add(1)
		case code == http.StatusServiceUnavailable:
			f.calls.unavailable.Add(1)
		default:
			f.calls.answered.Add(1)
			return code, answer
		}
		if time.Now().After(end) {
			f.Errorf("%s %s: no answer for %v, at last %d %s, error %v", method, path, patience, code, answer, err)
			return code, answer
		}
	}
}

// send sends a request once.
func (f *fleet) send(ctx context.Context, method, path, body string) (code int, answer []byte, err error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, method, f.address+path, strings.NewReader(body))
	if err != nil {
		return 0, nil, err
	}
	request.Header.Set("apikey", apiKey)
	request.Header.Set("Content-Type", "application/json")
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return 0, nil, err
	}
	defer response.Body.Close()
	answer, err = io.ReadAll(response.Body)
	return response.StatusCode, answer, err
}

// shown is a session as the API shows it.
type shown struct {
	Session, Status string
	StatusReason    struct{ Code string }
}

// status is what the API shows of a session; empty where ctx ended.
func (f *fleet) status(ctx context.Context, name string) (status, reason string) {
	before := f.sessions[name].presence()
	code, answer := f.call(ctx, http.MethodGet, "/api/sessions/"+name, "")
	var s shown
	if code == http.StatusNotFound && before != (presence{}) && (before.gone || !before.known() || f.sessions[name].presence() != before) {
		return "", ""
	}
	if err := json.Unmarshal(answer, &s); code != 0 && (err != nil || code != http.StatusOK || s.Session != name) {
		f.Errorf("get of %s answered %d %s", name, code, answer)
	}
	return s.Status, s.StatusReason.Code
}

func (f *fleet) start(ctx context.Context, s *state, body string) {
	f.want(ctx, s, true, "start", body)
}

func (f *fleet) stop(ctx context.Context, s *state) { f.want(ctx, s, false, "stop", "") }

// want starts or stops a session. A conflict says that it is as asked already,
// perhaps because an earlier attempt's answer was lost. Whoever reads after the
// answer must see what was asked, whatever the connectors do.
func (f *fleet) want(ctx context.Context, s *state, wanted bool, verb, body string) {
	s.asking.Lock()
	defer s.asking.Unlock()
	if s.presence().gone { // deleted a moment ago
		return
	}
	code, answer := f.call(ctx, http.MethodPost, "/api/sessions/"+s.name+"/"+verb, body)
	if code == 0 {
		return
	}
	if code/100 != 2 && code != http.StatusConflict {
		f.Errorf("%s of %s answered %d %s", verb, s.name, code, answer)
	}
	s.mu.Lock()
	s.wanted = wanted
	s.mu.Unlock()
	if status, _ := f.status(ctx, s.name); status != "" && (status == "STOPPED") == wanted {
		f.Errorf("%s is %s after its %s was answered with %d", s.name, status, verb, code)
	}
}

// statuses is every word of the API for a session.
var statuses = []string{"STOPPED", "STARTING", "SCAN_QR_CODE", "WORKING", "FAILED"}

// read reads all sessions and single ones until ctx ends.
func (f *fleet) read(ctx context.Context) {
	var names []string
	for name := range f.sessions {
		names = append(names, name)
	}
	slices.Sort(names)
	for ctx.Err() == nil {
		f.readAll(ctx, names)
		if status, _ := f.status(ctx, names[rand.IntN(len(names))]); status != "" && !slices.Contains(statuses, status) {
			f.Errorf("a session is shown as %q", status)
		}
		time.Sleep(pause)
	}
}

func (f *fleet) readAll(ctx context.Context, names []string) {
	before := map[string]presence{}
	for _, name := range names {
		before[name] = f.sessions[name].presence()
	}
	code, answer := f.call(ctx, http.MethodGet, "/api/sessions?all=true", "")
	if code == 0 {
		return
	}
	var list []shown
	if err := json.Unmarshal(answer, &list); err != nil || code != http.StatusOK {
		f.Errorf("the list of sessions is %d %s", code, answer)
		return
	}
	var listed []string
	for _, s := range list {
		listed = append(listed, s.Session)
		if !slices.Contains(statuses, s.Status) {
			f.Errorf("%s is listed as %q", s.Session, s.Status)
		}
	}
	for _, name := range names {
		was := before[name]
		if is := f.sessions[name].presence(); was == is && is.known() && slices.Contains(listed, name) == is.gone {
			f.Errorf("%s is deleted: %v; the list has %v", name, is.gone, listed)
		}
	}
	if slices.Sort(listed); len(slices.Compact(listed)) != len(list) || slices.ContainsFunc(listed, func(name string) bool { return f.sessions[name] == nil }) {
		f.Errorf("the list has %v", listed)
	}
}

// number is the phone of a session.
func (f *fleet) number(s *state) string {
	var n int
	_, _ = fmt.Sscanf(strings.TrimLeft(s.name, "abcdefghijklmnopqrstuvwxyz"), "%d", &n)
	if s.waiting {
		n += 1000
	}
	number := fmt.Sprintf("55119%08d", 70000000+n)
	f.secret(number)
	return number
}

// link lets the phone scan the code that is shown.
func (f *fleet) link(ctx context.Context, s *state) error {
	code, answer := f.call(ctx, http.MethodGet, "/api/"+s.name+"/auth/qr?format=raw", "")
	var qr struct{ Value string }
	if err := json.Unmarshal(answer, &qr); err != nil || code != http.StatusOK {
		return fmt.Errorf("no QR code: %d", code)
	}
	f.secret(qr.Value)
	jid, err := f.sim.ScanContext(ctx, f.number(s), qr.Value)
	return s.linked(jid, err)
}

// linkByCode lets the user type a pairing code into the phone.
func (f *fleet) linkByCode(ctx context.Context, s *state) error {
	number := f.number(s)
	code, answer := f.call(ctx, http.MethodPost, "/api/"+s.name+"/auth/request-code", fmt.Sprintf(`{"phone":%q}`, number))
	switch code {
	case http.StatusOK:
	case 0, http.StatusUnprocessableEntity, http.StatusGatewayTimeout: // nobody who could give one: it says so
		return fmt.Errorf("no pairing code: %d %s", code, answer)
	default:
		f.Errorf("the request of a code for %s answered %d %s", s.name, code, answer)
		return nil
	}
	var given struct{ Code string }
	if err := json.Unmarshal(answer, &given); err != nil || given.Code == "" {
		f.Errorf("the pairing code of %s is %s", s.name, answer)
		return nil
	}
	f.secret(given.Code)
	f.secret(strings.ReplaceAll(given.Code, "-", ""))
	jid, err := f.sim.LinkCodeContext(ctx, number, given.Code)
	return s.linked(jid, err)
}

// linked notes the device of a phone that was told of success. Where it was not,
// the connector may still have recorded a device that WhatsApp does not know.
func (s *state) linked(jid string, err error) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err == nil {
		s.jid = jid
	} else {
		s.halfway = true
	}
	return err
}
