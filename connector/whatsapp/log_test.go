package whatsapp

import (
	"log/slog"
	"strings"
	"testing"

	waBinary "go.mau.fi/whatsmeow/binary"

	"github.com/wafleet/wafleet/connector/event"
	"github.com/wafleet/wafleet/shared/session"
	"github.com/wafleet/wafleet/shared/wasim"
)

// contains reports whether a text has any of the parts.
func contains(text string, parts ...string) bool {
	for _, part := range parts {
		if strings.Contains(text, part) {
			return true
		}
	}
	return false
}

func TestLogOfAPairingHoldsNoSecret(t *testing.T) {
	dialects(t, func(t *testing.T, dialect session.Dialect) {
		r := newRig(t, func(s *wasim.Server) { s.NoAppState = false })
		h := r.open(dialect)
		h.level.Set(slog.LevelDebug)
		const number = "5511987654321"
		conn := h.connect("")
		qr := await[event.QR](h)
		code, err := conn.PairPhone(t.Context(), number)
		h.must(err)
		jid, err := h.sim.LinkCode(number, code)
		h.must(err)
		await[event.ReconnectNeeded](h)
		conn.Close()
		conn = h.connect(jid)
		await[event.Connected](h)
		await[event.Named](h)
		conn.Close()

		log := r.log.String()
		if strings.Count(log, "\n") < 20 || !contains(log, "<iq>") {
			t.Fatalf("not the log of a pairing at DEBUG:\n%s", log)
		}
		secrets := []string{number, number[2:], code, strings.ReplaceAll(code, "-", "")}
		for _, qrCode := range qr.Codes {
			_, rest, _ := strings.Cut(qrCode, "#")
			for part := range strings.SplitSeq(rest, ",") {
				if len(part) > 4 { // the last is the kind of client
					secrets = append(secrets, part, strings.TrimPrefix(part, "2@"))
				}
			}
		}
		for _, secret := range secrets {
			if secret != "" && contains(log, secret) {
				t.Errorf("%q is in the log:\n%s", secret, log)
			}
		}
	})
}

func TestLevelOfOneSessionChangesAtRunTime(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	loud, quiet := r.open(session.SQLite), r.open(session.SQLite)
	jid := loud.pair("5511911111111")
	if log := r.log.String(); log != "" {
		t.Errorf("log at INFO:\n%s", log)
	}
	conn := loud.login(jid)
	loud.level.Set(slog.LevelDebug) // while the client runs
	if !conn.Probe(t.Context()) {
		t.Fatal("no answer")
	}
	lines := strings.Count(r.log.String(), "\n")
	if lines == 0 {
		t.Error("no log at DEBUG")
	}
	loud.level.Set(slog.LevelInfo)
	conn.Close()
	r.noSockets()
	lines = strings.Count(r.log.String(), "\n")
	quiet.pair("5511922222222")
	if got := strings.Count(r.log.String(), "\n"); got != lines {
		t.Errorf("%d lines of a session at INFO:\n%s", got-lines, r.log.String())
	}
}

func TestLogger(t *testing.T) {
	t.Parallel()
	var out logBuffer
	level := new(slog.LevelVar)
	log := logger{log: out.logger(level)}.Sub("Client").Sub("Send")
	log.Infof("hidden %s", "info of a library is debug for us")
	node := waBinary.Node{Tag: "iq", Attrs: waBinary.Attrs{"to": "5511987654321@s.whatsapp.net"}, Content: []byte("key")}
	args := []any{node, &node}
	log.Warnf("stanzas %s %v", args...)
	log.Errorf("to %s", "5511987654321:3@s.whatsapp.net")
	level.Set(slog.LevelDebug)
	log.Debugf("shown %d", 5)
	text := out.String()
	if contains(text, "hidden", "5511", "key", "whatsapp.net\\\"") || strings.Count(text, "\n") != 3 {
		t.Errorf("log:\n%s", text)
	}
	for _, want := range []string{`"msg":"stanzas <iq> <iq>"`, `"msg":"to [number]:3@s.whatsapp.net"`, `"msg":"shown 5"`, `"module":"whatsmeow/Client/Send"`, `"level":"ERROR"`} {
		if !contains(text, want) {
			t.Errorf("no %s in %s", want, text)
		}
	}
	if args[1] != any(&node) {
		t.Error("the caller's arguments were changed")
	}
}
