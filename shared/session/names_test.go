package session_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"regexp"
	"strings"
	"testing"

	"github.com/google/uuid"

	"github.com/wafleet/wafleet/shared/session"
)

func TestParseName(t *testing.T) {
	t.Parallel()
	for _, good := range []string{"a", "my-session", "My_Session-1", "-", "_", "0", "Sessions", "sessionss", "deleted-shop", strings.Repeat("x", 54)} {
		if name, err := session.ParseName(good); err != nil || string(name) != good {
			t.Errorf("%q: %q, %v", good, name, err)
		}
	}
	for _, bad := range []string{
		"", " ", "a b", "a\n", "\na", "a\x00", "a.b", "..", "a/b", `a\b`, "a%2F", "ä", "а", "a?", "a#b", strings.Repeat("x", 55),
		"sessions", "contacts", "files", "server", "keys", "send", "events", "apps", "screenshot", "version", "messages", "deleted-01a20410-1460-7dd7-b400-acd0a104f892",
	} {
		name, err := session.ParseName(bad)
		var field *session.FieldError
		if !errors.As(err, &field) || field.Field != "session" || name != "" {
			t.Errorf("%q: %q, %v", bad, name, err)
		}
	}
}

func TestIDs(t *testing.T) {
	t.Parallel()
	first, second := session.NewID(), session.NewID()
	if first >= second {
		t.Errorf("ids are not ordered by time: %s, %s", first, second)
	}
	if id, err := uuid.Parse(string(session.NewTenantID())); err != nil || id.Version() != 7 {
		t.Errorf("tenant id %v, %v", id, err)
	}
	shape := regexp.MustCompile(`^[A-Za-z0-9-]{1,32}-[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[0-9a-f]{4}-[0-9a-f]{12}$`)
	for _, host := range []string{"", "ip-10-0-0-1", "ip-10-0-0-1.eu-west-1.compute.internal", "a b/c\n", "ünï", strings.Repeat("h", 300)} {
		if id := session.NewConnectorID(host); !shape.MatchString(string(id)) {
			t.Errorf("%q: %q", host, id)
		}
	}
}

func TestParsePhone(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]session.Phone{
		"5511999999999":         "5511999999999",
		"+55 (11) 99999-9999":   "5511999999999",
		"1234567":               "1234567",
		"123456789012345":       "123456789012345",
		"5511999999999@c.us":    "5511999999999",
		"\t1 2 3 4 5 6 7\n":     "1234567",
		"１２３４５６７8901234":        "8901234", // full-width digits are no digits
		"tel:+1-202-555-0143":   "12025550143",
		"12\x00345\u200b678901": "12345678901",
	} {
		if got, err := session.ParsePhone("phone", in); err != nil || got != want {
			t.Errorf("%q: %s, %v", in, string(got), err)
		}
	}
	for _, bad := range []string{"", "+", "123456", "1234567890123456", "phone", "０１２３４５６７", "0123456789", "00 55 11 99999", "-1", "٠١٢٣٤٥٦٧٨"} {
		got, err := session.ParsePhone("phoneNumber", bad)
		var field *session.FieldError
		if !errors.As(err, &field) || field.Field != "phoneNumber" || got != "" {
			t.Errorf("%q: %s, %v", bad, string(got), err)
		}
	}
}

func TestPhonePrintsMasked(t *testing.T) {
	t.Parallel()
	const number = "5511987654321"
	phone := session.Phone(number)
	var log bytes.Buffer
	slog.New(slog.NewJSONHandler(&log, nil)).Info("x", "phone", phone, slog.Group("g", "phone", phone))
	slog.New(slog.NewTextHandler(&log, nil)).Info("x", "phone", phone)
	texts := []string{log.String(), fmt.Sprint(phone), fmt.Sprintf("%v %+v %s %q %x %#v", phone, phone, phone, phone, phone, phone), fmt.Errorf("to %v", phone).Error()}
	for _, text := range texts {
		if strings.Contains(text, number[:9]) || strings.Contains(text, fmt.Sprintf("%x", number)) {
			t.Errorf("number in %s", text)
		}
	}
	if got := phone.String(); got != "****4321" {
		t.Errorf("masked as %s", got)
	}
	if got := session.Phone("4321").String(); got != "****" {
		t.Errorf("masked as %s", got)
	}
	// The wire and the database need the digits.
	if text, err := json.Marshal(phone); err != nil || string(text) != `"`+number+`"` {
		t.Errorf("JSON %s, %v", text, err)
	}
}

func TestDecodePhone(t *testing.T) {
	t.Parallel()
	for body, want := range map[string][2]string{
		`{"phone":"+55 11 99999 9999"}`:               {"5511999999999", ""},
		`{"phoneNumber":"5511999999999"}`:             {"5511999999999", ""},
		`{"phone":"1234567","phoneNumber":"7654321"}`: {"1234567", ""},
		`{"phone":null,"phoneNumber":"7654321"}`:      {"7654321", ""},
		`{"phone":"1234567","method":"sms","x":[1]}`:  {"1234567", "sms"},
		`{"phone":"1234567","method":null}`:           {"1234567", ""},
	} {
		phone, method, err := session.DecodePhone([]byte(body))
		if err != nil || string(phone) != want[0] || method != want[1] {
			t.Errorf("%s: %s, %q, %v", body, string(phone), method, err)
		}
	}
	for body, want := range map[string]string{
		``:                           "phone is missing",
		`{}`:                         "phone is missing",
		`{"phone":null}`:             "phone is missing",
		`{"phone":""}`:               "phone must have 7 to 15 digits",
		`{"phone":5511999999999}`:    "phone must be a string, not a number",
		`{"phoneNumber":true}`:       "phoneNumber must be a string, not a boolean",
		`{"phoneNumber":"12"}`:       "phoneNumber must have 7 to 15 digits",
		`{"phone":1,"method":[]}`:    "method must be a string, not an array; phone must be a string",
		`{"phone":"12345\u000067"}`:  "phone must not contain a NUL character",
		`{"phone":"1234567"} {}`:     "body must be one JSON object with nothing after it",
		`["1234567"]`:                "body must be a JSON object, not an array",
		"{\"phone\":\"1234567\xff\"": "body must be JSON in UTF-8",
	} {
		_, _, err := session.DecodePhone([]byte(body))
		if err == nil || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("%s: %v, want %s", body, err, want)
		}
	}
}

func FuzzParsePhone(f *testing.F) {
	for _, seed := range []string{"5511999999999", "+55 (11) 99999-9999", "0123", "１２３４５６７", "\xff1234567"} {
		f.Add(seed)
	}
	shape := regexp.MustCompile(`^[1-9][0-9]{6,14}$`)
	f.Fuzz(func(t *testing.T, in string) {
		phone, err := session.ParsePhone("phone", in)
		if err != nil {
			if phone != "" {
				t.Fatalf("%q with %v", string(phone), err)
			}
			return
		}
		if !shape.MatchString(string(phone)) {
			t.Fatalf("%q became %q", in, string(phone))
		}
		if again, err := session.ParsePhone("phone", string(phone)); err != nil || again != phone {
			t.Fatalf("%q became %q, %v", string(phone), string(again), err)
		}
		if strings.Contains(phone.String(), string(phone[:len(phone)-4])) && len(phone) > 8 {
			t.Fatalf("%q is not masked in %s", string(phone), phone)
		}
	})
}
