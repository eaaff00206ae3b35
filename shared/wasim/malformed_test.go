package wasim_test

import (
	"bufio"
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"testing"

	"go.mau.fi/whatsmeow"
	"go.mau.fi/whatsmeow/types/events"
	waLog "go.mau.fi/whatsmeow/util/log"

	"github.com/wafleet/wafleet/shared/wasim"
)

// victimEnv holds the wasim.Info of the server that a process of the test is a client of.
const victimEnv = "WAFLEET_TEST_VICTIM_OF"

// beVictim is an unmodified client in a process of its own, because it dies of what it gets. It prints a QR code, links,
// logs in, and lives until its input ends.
func beVictim() error {
	var info wasim.Info
	if err := json.Unmarshal([]byte(os.Getenv(victimEnv)), &info); err != nil {
		return err
	}
	if n, err := hex.Decode(whatsmeow.WACertPubKey[:], []byte(info.RootKey)); err != nil || n != len(whatsmeow.WACertPubKey) {
		return fmt.Errorf("bad root key: %d bytes, %w", n, err)
	}
	h := &http.Client{Transport: transportTo(info.DialAddr, []byte(info.CAPEM))}
	c := whatsmeow.NewClient(newMemDevice(), waLog.Noop)
	c.SetWebsocketHTTPClient(h)
	c.SetPreLoginHTTPClient(h)
	c.AddEventHandler(func(e any) {
		if qr, ok := e.(*events.QR); ok {
			fmt.Println(qr.Codes[0])
		}
	})
	if err := c.Connect(); err != nil {
		return err
	}
	_, err := io.Copy(io.Discard, os.Stdin)
	return err
}

// victim is a running beVictim.
type victim struct {
	*exec.Cmd
	qr     string
	stderr strings.Builder
}

func startVictim(t *testing.T, s *wasim.Server) *victim {
	t.Helper()
	info, err := json.Marshal(wasim.Info{DialAddr: s.DialAddr(), CAPEM: string(s.CAPEM()), RootKey: s.RootKeyHex()})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	t.Cleanup(cancel)
	v := &victim{Cmd: exec.CommandContext(ctx, os.Args[0])}
	v.Env = append(os.Environ(), victimEnv+"="+string(info), "GOTRACEBACK=single") // reports the goroutine that panicked
	v.Stderr = &v.stderr
	in, err := v.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = in.Close() })
	out, err := v.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := v.Start(); err != nil {
		t.Fatal(err)
	}
	if v.qr, err = bufio.NewReader(out).ReadString('\n'); err != nil {
		t.Fatalf("no QR code: %v; %v\n%s", err, v.Wait(), v.stderr.String())
	}
	return v
}

// diesOf waits until the victim has crashed in a function.
func (v *victim) diesOf(t *testing.T, function string) {
	t.Helper()
	var exit *exec.ExitError
	if err := v.Wait(); !errors.As(err, &exit) || exit.ExitCode() != 2 {
		t.Fatalf("ended with %v\n%s", err, v.stderr.String())
	}
	if report := v.stderr.String(); !strings.Contains(report, "panic: ") || !strings.Contains(report, function) {
		t.Fatalf("no panic in %s:\n%s", function, report)
	}
}

// panics names for every kind a function that its panic passes through.
var panics = map[wasim.MalformedKind]string{
	wasim.MalformedHandler:   "whatsmeow.(*Client).handlePairSuccess",
	wasim.MalformedFrame:     "whatsmeow.(*Client).handleFrame",
	wasim.MalformedGoroutine: "whatsmeow.(*Client).handleAppStateNotification",
}

func TestMalformedKillsWhatsmeow(t *testing.T) {
	t.Parallel()
	for kind, function := range panics {
		t.Run(string(kind)+" while scanning", func(t *testing.T) {
			t.Parallel()
			s := start(t)
			v := startVictim(t, s)
			if n, err := s.Malformed("", kind, 0); err != nil || n != 1 {
				t.Fatal(n, err)
			}
			v.diesOf(t, function)
			if e := expect(t, s, 0, wasim.EventMalformed); e.Detail != string(kind) || e.JID != "" {
				t.Fatalf("%+v", e)
			}
		})
		t.Run(string(kind)+" while logged in", func(t *testing.T) {
			t.Parallel()
			s := start(t)
			v := startVictim(t, s)
			jid, err := s.Scan("5511900000300", strings.TrimSpace(v.qr))
			if err != nil {
				t.Fatal(err)
			}
			expect(t, s, 0, wasim.EventActive)
			if n, err := s.Malformed("5511900000301", kind, 0); err != nil || n != 0 {
				t.Fatal(n, err)
			}
			if n, err := s.Malformed(jid, kind, 0); err != nil || n != 1 {
				t.Fatal(n, err)
			}
			v.diesOf(t, function)
			if e := expect(t, s, 0, wasim.EventMalformed); e.Detail != string(kind) || e.JID != jid {
				t.Fatalf("%+v", e)
			}
		})
	}
}

func TestMalformedAtTheNextLogin(t *testing.T) {
	t.Parallel()
	s := start(t)
	const number = "5511900000302"
	if n, err := s.Malformed(number, wasim.MalformedHandler, 1); err != nil || n != 0 {
		t.Fatal(n, err)
	}
	v := startVictim(t, s) // its registration is nobody's login
	if _, err := s.Scan(number, strings.TrimSpace(v.qr)); err != nil {
		t.Fatal(err)
	}
	v.diesOf(t, panics[wasim.MalformedHandler])
	if e := expect(t, s, 0, wasim.EventMalformed); e.JID != number+":1@s.whatsapp.net" {
		t.Fatalf("%+v", e)
	}
}

func TestMalformedAtTheNextRegistration(t *testing.T) {
	t.Parallel()
	s := start(t)
	if n, err := s.Malformed("", wasim.MalformedHandler, 1); err != nil || n != 0 {
		t.Fatal(n, err)
	}
	startVictim(t, s).diesOf(t, panics[wasim.MalformedHandler])
}
