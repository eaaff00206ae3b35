package session_test

import (
	"encoding/json"
	"go/ast"
	"go/parser"
	"go/token"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/wafleet/wafleet/shared/session"
)

// declaredReasons reads the constants of type ReasonCode from the source, so
// that a code without a sentence cannot be forgotten.
func declaredReasons(t *testing.T) []session.ReasonCode {
	t.Helper()
	file, err := parser.ParseFile(token.NewFileSet(), "reason.go", nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	var codes []session.ReasonCode
	ast.Inspect(file, func(n ast.Node) bool {
		spec, ok := n.(*ast.ValueSpec)
		if !ok {
			return true
		}
		if kind, ok := spec.Type.(*ast.Ident); ok && kind.Name == "ReasonCode" {
			text, err := strconv.Unquote(spec.Values[0].(*ast.BasicLit).Value)
			if err != nil {
				t.Fatal(err)
			}
			codes = append(codes, session.ReasonCode(text))
		}
		return true
	})
	return codes
}

func TestEveryReasonHasASentence(t *testing.T) {
	t.Parallel()
	declared, documented := declaredReasons(t), session.ReasonCodes()
	slices.Sort(declared)
	slices.Sort(documented)
	if len(declared) < 10 || !slices.Equal(declared, documented) {
		t.Fatalf("declared   %v\ndocumented %v", declared, documented)
	}
	shape := regexp.MustCompile(`^[A-Z]+(_[A-Z]+)*$`)
	seen := map[string]session.ReasonCode{}
	for _, code := range declared {
		m := session.MeaningOf(code)
		if !shape.MatchString(string(code)) || !strings.HasSuffix(m.Sentence, ".") || m.Class == "" {
			t.Errorf("%s: %+v", code, m)
		}
		if other, ok := seen[m.Sentence]; ok {
			t.Errorf("%s and %s say the same", code, other)
		}
		seen[m.Sentence] = code
		if session.Family(code) != code {
			t.Errorf("family of %s is %s", code, session.Family(code))
		}
	}
}

func TestReasonsWithANumber(t *testing.T) {
	t.Parallel()
	if code := session.ConnectFailure(409); code != "CONNECT_FAILURE_409" || session.Family(code) != "CONNECT_FAILURE" {
		t.Errorf("%s of %s", code, session.Family(code))
	}
	if m := session.MeaningOf(session.ConnectFailure(409)); m.Class != session.NeedsUser || m.Sentence != "WhatsApp refused the login with code 409." {
		t.Errorf("%+v", m)
	}
	if m := session.MeaningOf(session.StreamError("516")); m.Class != session.Transient || m.Sentence != "WhatsApp sent the stream error 516." {
		t.Errorf("%+v", m)
	}
	if m := session.MeaningOf("NEW_WORD"); m.Class != session.Transient || m.Sentence != "NEW_WORD" {
		t.Errorf("%+v", m)
	}
	for in, want := range map[string]session.ReasonCode{
		"516":                      "STREAM_ERROR_516",
		"xml-not-well-formed":      "STREAM_ERROR_xmlnotwellformed",
		"":                         "STREAM_ERROR_UNKNOWN",
		"-_ \n\x00":                "STREAM_ERROR_UNKNOWN",
		"ünï１":                     "STREAM_ERROR_n",
		"\xff\xfe5":                "STREAM_ERROR_5",
		strings.Repeat("x", 17):    "STREAM_ERROR_xxxxxxxxxxxxxxxx",
		"<script>alert(1)</script": "STREAM_ERROR_scriptalert1scri",
	} {
		got := session.StreamError(in)
		if got != want || session.Family(got) != "STREAM_ERROR" {
			t.Errorf("%q: %s of %s, want %s", in, got, session.Family(got), want)
		}
	}
}

func TestNewReason(t *testing.T) {
	t.Parallel()
	plain := session.NewReason(session.QRExpired, noon, "")
	if plain.Code != session.QRExpired || plain.Message != session.MeaningOf(session.QRExpired).Sentence || !plain.At.Equal(noon) || plain.RetryAt != nil {
		t.Errorf("%+v", plain)
	}
	detailed := session.NewReason(session.PairError, noon, "refused")
	if want := session.MeaningOf(session.PairError).Sentence + " (refused)"; detailed.Message != want {
		t.Errorf("%q, want %q", detailed.Message, want)
	}
	later := plain.WithRetryAt(noon.Add(time.Minute))
	if plain.RetryAt != nil || later.RetryAt == nil || !later.RetryAt.Equal(noon.Add(time.Minute)) || later.Code != plain.Code {
		t.Errorf("%+v, then %+v", plain, later)
	}
	text, err := json.Marshal(plain)
	want := `{"code":"QR_EXPIRED","message":"` + plain.Message + `","at":"2026-03-01T12:00:00Z","retryAt":null}`
	if err != nil || string(text) != want {
		t.Errorf("%s, %v", text, err)
	}
}
