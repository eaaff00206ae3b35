package whatsapp

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"runtime/pprof"
	"strings"
	"sync"
	"testing"

	"go.mau.fi/whatsmeow"
	waBinary "go.mau.fi/whatsmeow/binary"
	noise "go.mau.fi/whatsmeow/socket"
	"go.mau.fi/whatsmeow/store"

	"github.com/wafleet/wafleet/connector/event"
	"github.com/wafleet/wafleet/shared/session"
	"github.com/wafleet/wafleet/shared/wasim"
)

// contained are the kinds of malformed stanzas that end no process, and the function of whatsmeow that panics.
var contained = map[wasim.MalformedKind]string{
	wasim.MalformedHandler: "handlePairSuccess",
	wasim.MalformedFrame:   "handleFrame",
}

func TestAMalformedStanzaEndsOneConnectionOnly(t *testing.T) {
	t.Parallel()
	for kind, function := range contained {
		t.Run(string(kind), func(t *testing.T) {
			t.Parallel()
			r := newRig(t)
			one, two, unlinked := r.open(session.Postgres), r.open(session.Postgres), r.open(session.Postgres)
			jid := one.pair("5511911111111")
			conn := one.login(jid)
			other := two.login(two.pair("5511922222222"))

			n, err := r.sim.Malformed(jid, kind, 0)
			r.must(err)
			if n != 1 {
				t.Errorf("sent to %d connections", n)
			}
			told(one, function)
			conn.Close()

			if _, err = r.sim.Malformed("", kind, 1); err != nil {
				t.Fatal(err)
			}
			conn = unlinked.connect("")
			told(unlinked, function)
			conn.Close()

			if !other.Probe(t.Context()) || len(two.rest()) > 0 {
				t.Errorf("another connection suffers: %v", two.rest())
			}
			one.login(jid)
			if log := r.log.String(); strings.Count(log, `"level":"ERROR"`) != 2 || !strings.Contains(log, function) {
				t.Errorf("log:\n%s", log)
			}
		})
	}
}

// told waits until the sink hears of a panic in a function.
func told(h *holding, function string) {
	h.Helper()
	if e := await[event.Panicked](h); e.Value == nil || !strings.Contains(string(e.Stack), function) {
		h.Errorf("panic %v without %s:\n%s", e.Value, function, e.Stack)
	}
}

func TestASessionIsPoisonedRepeatedly(t *testing.T) {
	t.Parallel()
	h := newRig(t).open(session.SQLite)
	jid := h.pair("5511999999999")
	_, err := h.sim.Malformed(jid, wasim.MalformedHandler, 2)
	h.must(err)
	for range 2 {
		conn := h.connect(jid)
		told(h, "handlePairSuccess")
		conn.Close()
		h.rest()
	}
	h.login(jid)
	for _, e := range h.rest() {
		t.Errorf("%#v", e)
	}
}

func TestAPanicWhileConnectingIsContained(t *testing.T) {
	t.Parallel()
	h := newRig(t).open(session.SQLite)
	h.rig.devices.versions.current.Store(nil) // the handshake asks for it
	if conn, err := h.Connect(t.Context(), "", func(e event.Event) { h.events <- e }); conn != nil || err == nil {
		t.Errorf("connected: %v", err)
	}
	told(h, "payload")
	h.noSockets()
}

func TestAContainedPanicIsRedacted(t *testing.T) {
	t.Parallel()
	var log logBuffer
	var heard []event.Event
	c := &Conn{
		device: &Device{term: Term{Log: log.logger(slog.LevelError)}},
		tell:   func(e event.Event) { heard = append(heard, e) },
	}
	handle := c.containHandler("iq", func(_ context.Context, node *waBinary.Node) { panic("no device " + node.Tag) })
	handle(t.Context(), &waBinary.Node{Tag: "5511999999999"})
	if text := log.String(); strings.Contains(text, "5511999999999") || !strings.Contains(text, `"in":"iq","panic":"no device [number]"`) {
		t.Errorf("log: %s", text)
	}
	if len(heard) != 1 || heard[0].(event.Panicked).Value != "no device 5511999999999" {
		t.Errorf("heard %v", heard)
	}
}

// of makes a struct type with unexported fields.
func of(fields map[string]reflect.Type) reflect.Type {
	var list []reflect.StructField
	for name, t := range fields {
		list = append(list, reflect.StructField{Name: name, Type: t, PkgPath: "whatsmeow"})
	}
	return reflect.StructOf(list)
}

func TestSeamsAreChecked(t *testing.T) {
	t.Parallel()
	right := map[string]reflect.Type{
		"nodeHandlers": reflect.TypeFor[map[string]nodeHandler](),
		"socketLock":   reflect.TypeFor[sync.RWMutex](),
		"socket":       reflect.TypeFor[*noise.NoiseSocket](),
	}
	with := func(name string, other reflect.Type) reflect.Type {
		changed := maps.Clone(right)
		changed[name] = other
		return of(changed)
	}
	connection := of(map[string]reflect.Type{"onFrame": reflect.TypeFor[noise.FrameHandler]()})
	for name, tt := range map[string]struct {
		client, connection reflect.Type
		missing            []string
	}{
		"right":            {of(right), connection, nil},
		"renamed":          {of(right), of(map[string]reflect.Type{"onFrames": reflect.TypeFor[noise.FrameHandler]()}), []string{"onFrame"}},
		"other handler":    {with("nodeHandlers", reflect.TypeFor[map[string]func(*waBinary.Node)]()), connection, []string{"nodeHandlers"}},
		"other key":        {with("nodeHandlers", reflect.TypeFor[map[int]nodeHandler]()), connection, []string{"nodeHandlers"}},
		"not a map":        {with("nodeHandlers", reflect.TypeFor[sync.Map]()), connection, []string{"nodeHandlers"}},
		"other lock":       {with("socketLock", reflect.TypeFor[sync.Mutex]()), connection, []string{"socketLock"}},
		"other socket":     {with("socket", reflect.TypeFor[noise.NoiseSocket]()), connection, []string{"socket"}},
		"in another field": {reflect.StructOf([]reflect.StructField{{Name: "Inner", Type: of(right), Anonymous: true}}), connection, []string{"nodeHandlers", "socketLock", "socket"}},
	} {
		_, err := findSeams(tt.client, tt.connection)
		if (err == nil) != (tt.missing == nil) {
			t.Errorf("%s: %v", name, err)
		}
		for _, field := range tt.missing {
			if !strings.Contains(err.Error(), "no field "+field+" of") {
				t.Errorf("%s: %v", name, err)
			}
		}
	}
	s, err := newSeams()
	if err != nil {
		t.Error(err)
	}
	client := whatsmeow.NewClient(&store.Device{}, nil)
	s.shrink(client)
	if s.recent < 0 || field(client, s.recent).IsNil() {
		t.Errorf("the recent messages are not where they were: field %d", s.recent)
	}
}

func TestEveryGoroutineOfAConnectionIsLabelled(t *testing.T) {
	t.Parallel()
	h := newRig(t).open(session.SQLite)
	h.login(h.pair("5511999999999"))
	var profile strings.Builder
	h.must(pprof.Lookup("goroutine").WriteTo(&profile, 1))
	label := `"` + sessionLabel + `":"` + string(h.term.ID) + `"`
	want := []string{"keepAliveLoop", "handlerQueueLoop", "consumeFrames", "readPump"}
	for stack := range strings.SplitSeq(profile.String(), "\n\n") {
		if !strings.Contains(stack, label) {
			continue
		}
		for i, function := range want {
			if strings.Contains(stack, function) {
				want[i] = ""
			}
		}
	}
	if left := strings.Join(want, ""); left != "" {
		t.Errorf("%s has no label %s:\n%s", left, label, profile.String())
	}
}

// The environment of a process that is to crash: the session, and the way to the simulator.
const (
	victimEnv     = "WAFLEET_TEST_VICTIM"
	victimDialEnv = "WAFLEET_TEST_VICTIM_DIAL"
	victimKeyEnv  = "WAFLEET_TEST_VICTIM_KEY"
	victimDirEnv  = "WAFLEET_TEST_VICTIM_DIR" // has ca.pem
)

// beVictim has one unlinked connection until the process dies or its input ends.
func beVictim(id session.ID) error {
	dir := os.Getenv(victimDirEnv)
	endpoint, err := ParseEndpoint(os.Getenv(victimDialEnv), filepath.Join(dir, "ca.pem"), os.Getenv(victimKeyEnv))
	if err != nil {
		return err
	}
	if err := SetGlobals(Globals{RootKey: endpoint.RootKey}); err != nil {
		return err
	}
	log := slog.New(slog.DiscardHandler)
	devices, err := New(Config{Endpoint: endpoint, DataDir: dir}, nil, log)
	if err != nil {
		return err
	}
	device, err := devices.Open(context.Background(), Term{
		ID: id, Tenant: session.NewTenantID(), Config: session.DefaultConfig(session.Defaults{}), Held: func() error { return nil }, Log: log,
	})
	if err != nil {
		return err
	}
	if _, err = device.Connect(context.Background(), "", func(event.Event) {}); err != nil {
		return err
	}
	_, err = io.Copy(io.Discard, os.Stdin)
	return err
}

// TestACrashNamesItsSession proves what a panic out of reach leaves behind: a report with the session's label.
func TestACrashNamesItsSession(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	_, err := r.sim.Malformed("", wasim.MalformedGoroutine, 1)
	r.must(err)
	r.must(os.WriteFile(filepath.Join(r.dataDir, "ca.pem"), r.sim.CAPEM(), 0o600))
	id := session.NewID()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	victim := exec.CommandContext(ctx, os.Args[0])
	victim.Env = append(os.Environ(), victimEnv+"="+string(id), victimDialEnv+"="+r.sim.DialAddr(),
		victimKeyEnv+"="+r.sim.RootKeyHex(), victimDirEnv+"="+r.dataDir, "GODEBUG=tracebacklabels=1", "GOTRACEBACK=single")
	in, err := victim.StdinPipe()
	r.must(err)
	defer in.Close()
	var report strings.Builder
	victim.Stderr = &report
	var exit *exec.ExitError
	if err := victim.Run(); !errors.As(err, &exit) || exit.ExitCode() != 2 {
		t.Fatalf("ended with %v\n%s", err, report.String())
	}
	for _, want := range []string{"panic: ", "handleAppStateNotification", sessionLabel, string(id)} {
		if !strings.Contains(report.String(), want) {
			t.Errorf("no %s in the report:\n%s", want, report.String())
		}
	}
}
