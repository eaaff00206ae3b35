package whatsapp

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.mau.fi/whatsmeow/store"

	"github.com/wafleet/wafleet/connector/event"
	"github.com/wafleet/wafleet/shared/session"
	"github.com/wafleet/wafleet/shared/wasim"
)

// readers move nothing, so they need no fence. Whatever whatsmeow adds to its interfaces and is not here must refuse.
var readers = []string{
	"IsTrustedIdentity", "GetSession", "HasSession", "GetManySessions", "GetPreKey", "UploadedPreKeyCount", "GetSenderKey",
	"GetAppStateSyncKey", "GetLatestAppStateSyncKeyID", "GetAllAppStateSyncKeys", "GetAppStateVersion", "GetAppStateMutationMAC",
	"GetContact", "GetAllContacts", "GetChatSettings", "GetMessageSecret", "GetPrivacyToken", "GetNCTSalt",
	"GetBufferedEvent", "GetOutgoingEvent",
	"GetPNForLID", "GetLIDForPN", "GetManyLIDsForPNs",
}

func TestEveryWriterIsFenced(t *testing.T) {
	t.Parallel()
	reached := errors.New("reached the store")
	inner := &store.NoopStore{Error: reached}
	var over error
	device := &store.Device{Container: inner, LIDs: inner, Initialized: true}
	device.SetAllStores(inner)
	gate := newGate(func() error { return over })
	fence(device, gate, newOrder())

	used := map[string]bool{}
	for _, part := range []struct {
		of    reflect.Type
		value any
	}{
		{reflect.TypeFor[store.AllSessionSpecificStores](), device.Identities},
		{reflect.TypeFor[store.LIDStore](), device.LIDs},
		{reflect.TypeFor[store.DeviceContainer](), device.Container},
	} {
		for i := range part.of.NumMethod() {
			name := part.of.Method(i).Name
			method := reflect.ValueOf(part.value).MethodByName(name)
			reader := slices.Contains(readers, name)
			used[name] = true
			over = nil
			ctx := &insideOf{Context: t.Context(), gate: gate}
			err := call(ctx, method)
			if err != nil && !errors.Is(err, reached) {
				t.Errorf("%s in the term: %v", name, err)
			}
			if ctx.inside == reader {
				t.Errorf("%s (reader: %v) inside of the gate: %v", name, reader, ctx.inside)
			}
			over = session.ErrFenced
			if err := call(t.Context(), method); errors.Is(err, session.ErrFenced) == reader {
				t.Errorf("%s (reader: %v) after the term: %v", name, reader, err)
			}
		}
	}
	for _, name := range readers {
		if !used[name] {
			t.Errorf("%s is no method any more", name)
		}
	}
}

// insideOf notes whether a gate had been entered when somebody asked for the end of the context.
type insideOf struct {
	context.Context
	gate   *gate
	inside bool
}

func (c *insideOf) Done() <-chan struct{} {
	c.gate.mu.Lock()
	defer c.gate.mu.Unlock()
	c.inside = c.inside || c.gate.inside > 0
	return c.Context.Done()
}

// call calls a method with empty arguments and returns its error.
func call(ctx context.Context, method reflect.Value) error {
	var args []reflect.Value
	for i := range method.Type().NumIn() {
		switch in := method.Type().In(i); {
		case in == reflect.TypeFor[context.Context]():
			args = append(args, reflect.ValueOf(ctx))
		case in == reflect.TypeFor[*store.Device]():
			args = append(args, reflect.ValueOf(&store.Device{Initialized: true}))
		case in == reflect.TypeFor[func(context.Context) error]():
			args = append(args, reflect.ValueOf(func(context.Context) error { return nil }))
		case method.Type().IsVariadic() && i == method.Type().NumIn()-1:
		default:
			args = append(args, reflect.Zero(in))
		}
	}
	results := method.Call(args)
	err, _ := results[len(results)-1].Interface().(error)
	return err
}

func TestEveryStoreOfADeviceIsFenced(t *testing.T) {
	dialects(t, func(t *testing.T, dialect session.Dialect) {
		h := newRig(t).open(dialect)
		jid := h.pair("5511999999999")
		device, err := h.load(t.Context(), jid)
		h.must(err)
		fence(device, h.gate, newOrder())
		isFenced(t, device)
		// Refused from inside the device, too.
		h.over.Store(true)
		before := h.dump()
		if err := device.Save(t.Context()); !errors.Is(err, session.ErrFenced) {
			t.Errorf("save: %v", err)
		}
		if err := device.Delete(t.Context()); !errors.Is(err, session.ErrFenced) {
			t.Errorf("delete: %v", err)
		}
		if diff := cmp.Diff(before, h.dump()); diff != "" {
			t.Errorf("rows changed:\n%s", diff)
		}
	})
}

// isFenced looks at every field of a device that is an interface of package store.
func isFenced(t *testing.T, device *store.Device) {
	t.Helper()
	fields := 0
	value := reflect.ValueOf(device).Elem()
	for i := range value.NumField() {
		field := value.Type().Field(i)
		if field.Type.Kind() != reflect.Interface || !strings.HasSuffix(field.Type.PkgPath(), "/store") {
			continue
		}
		fields++
		switch value.Field(i).Interface().(type) {
		case fencedStore, fencedLIDs, fencedContainer:
		default:
			t.Errorf("%s is %T", field.Name, value.Field(i).Interface())
		}
	}
	if fields < 14 {
		t.Errorf("only %d stores found", fields)
	}
}

func TestANewDeviceIsFencedOnceSaved(t *testing.T) {
	dialects(t, func(t *testing.T, dialect session.Dialect) {
		h := newRig(t).open(dialect)
		conn := h.connect("")
		_, err := h.sim.Scan("5511999999999", await[event.QR](h).Codes[0])
		h.must(err)
		await[event.Paired](h) // after the save, in the same goroutine
		isFenced(t, conn.client.Store)
		h.over.Store(true)
		if err := conn.client.Store.Sessions.PutSession(t.Context(), "x", []byte("y")); !errors.Is(err, session.ErrFenced) {
			t.Errorf("put: %v", err)
		}
	})
}

func TestDecryptionIsNotCommittedAfterTheTerm(t *testing.T) {
	dialects(t, func(t *testing.T, dialect session.Dialect) {
		h := newRig(t).open(dialect)
		device, err := h.load(t.Context(), h.pair("5511999999999"))
		h.must(err)
		fence(device, h.gate, newOrder())
		before := h.dump()
		err = device.EventBuffer.DoDecryptionTxn(t.Context(), func(ctx context.Context) error {
			h.must(device.Sessions.PutSession(ctx, "551:0", []byte("ratchet")))
			h.over.Store(true) // frozen here, and thawed
			return nil
		})
		if !errors.Is(err, session.ErrFenced) {
			t.Errorf("%v", err)
		}
		if diff := cmp.Diff(before, h.dump()); diff != "" {
			t.Errorf("rows changed:\n%s", diff)
		}
		h.over.Store(false)
		h.must(device.EventBuffer.DoDecryptionTxn(t.Context(), func(ctx context.Context) error {
			return device.Sessions.PutSession(ctx, "551:0", []byte("ratchet"))
		}))
		if cmp.Equal(before, h.dump()) {
			t.Error("nothing was written in the term: the test sees nothing")
		}
	})
}

func TestAThawedHolderMovesNothing(t *testing.T) {
	dialects(t, func(t *testing.T, dialect session.Dialect) {
		h := newRig(t).open(dialect)
		jid := h.pair("5511999999999")
		h.login(jid)
		before, rows := h.sim.Connections(), h.dump()
		seq := h.sim.LastSeq()
		// A keepalive that is on its way when the term ends is of the term. Behind one that has arrived there is none.
		for h.sim.Connections()[0].FramesIn == before[0].FramesIn {
			time.Sleep(time.Millisecond) // the simulator tells nobody
		}
		// The context lives on, as in a process that was frozen and has not looked yet.
		h.over.Store(true)
		frames := h.sim.Connections()[0].FramesIn
		h.must(h.sim.Logout(jid)) // whatsmeow would delete the device and acknowledge
		await[event.LoggedOut](h)
		for _, c := range h.sim.Connections() {
			if c.FramesIn > frames {
				t.Errorf("%d frames came in after the term", c.FramesIn-frames)
			}
		}
		h.expect(seq, wasim.EventClosed)
		if diff := cmp.Diff(rows, h.dump()); diff != "" {
			t.Errorf("rows changed:\n%s", diff)
		}
		if _, err := h.Connect(t.Context(), jid, func(event.Event) {}); err == nil {
			t.Error("connected after the term")
		}
		if got := h.sim.Stats().Handshakes; len(before) != 1 || got != 2 {
			t.Errorf("%d handshakes, want 2", got)
		}
	})
}

// dump returns every row of whatsmeow's tables.
func (h *holding) dump() []string {
	h.Helper()
	db, list := h.fleet.DB(), "SELECT tablename FROM pg_tables WHERE tablename LIKE 'whatsmeow%' ORDER BY 1"
	if h.file != nil {
		db, list = h.file, "SELECT name FROM sqlite_master WHERE type = 'table' AND name LIKE 'whatsmeow%' ORDER BY 1"
	}
	var dump []string
	for _, table := range h.rows(db, list) {
		for _, row := range h.rows(db, "SELECT * FROM "+table) {
			dump = append(dump, table+": "+row)
		}
	}
	slices.Sort(dump)
	if len(dump) < 3 {
		h.Fatalf("a dump of only %d rows", len(dump))
	}
	return dump
}

func (h *holding) rows(db *sql.DB, query string) (list []string) {
	h.Helper()
	rows, err := db.QueryContext(h.Context(), query)
	h.must(err)
	defer rows.Close()
	columns, err := rows.Columns()
	h.must(err)
	for rows.Next() {
		values, targets := make([]any, len(columns)), make([]any, len(columns))
		for i := range values {
			targets[i] = &values[i]
		}
		h.must(rows.Scan(targets...))
		texts := make([]string, len(values))
		for i, v := range values {
			texts[i] = fmt.Sprint(v)
			if text, ok := v.([]byte); ok {
				texts[i] = string(text)
			}
		}
		list = append(list, strings.Join(texts, "|"))
	}
	h.must(rows.Err())
	return list
}
