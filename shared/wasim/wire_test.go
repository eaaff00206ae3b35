package wasim

import (
	"bytes"
	"compress/zlib"
	"errors"
	"io"
	"log/slog"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	waBinary "go.mau.fi/whatsmeow/binary"
	"go.mau.fi/whatsmeow/types"
)

func TestFramesAreCutFromAnyMessages(t *testing.T) {
	t.Parallel()
	var stream []byte
	want := []string{"one", "", "three" + strings.Repeat("x", 300)}
	for _, f := range want {
		stream = append(stream, framed([]byte(f))...)
	}
	for size := 1; size <= len(stream); size++ {
		rest := stream
		r := frameReader{next: func() ([]byte, error) {
			if len(rest) == 0 {
				return nil, io.EOF
			}
			n := min(size, len(rest))
			msg := rest[:n:n]
			rest = rest[n:]
			return msg, nil
		}}
		for _, f := range want {
			got, err := r.frame()
			if err != nil || string(got) != f {
				t.Fatalf("size %d: %q, %v", size, got, err)
			}
		}
		if _, err := r.frame(); !errors.Is(err, io.EOF) {
			t.Fatal(err)
		}
	}
}

func TestTooLargeFrame(t *testing.T) {
	t.Parallel()
	r := frameReader{next: func() ([]byte, error) { return []byte{0xFF, 0xFF, 0xFF}, nil }}
	if _, err := r.frame(); !errors.Is(err, errFrameTooLarge) {
		t.Fatal(err)
	}
}

// sample has every kind of element that clients send.
var sample = waBinary.Node{
	Tag: "iq",
	Attrs: waBinary.Attrs{
		"id": "12.34-5", "to": types.ServerJID, "jid": types.NewADJID("5511999999999", 0, 3),
		"lid": types.NewJID("15511", types.HiddenUserServer), "hex": "ABCDEF", "text": "anything at all",
	},
	Content: []waBinary.Node{
		{Tag: "list", Content: []waBinary.Node{{Tag: "user"}, {Tag: "custom-tag", Content: bytes.Repeat([]byte{7}, 300)}}},
		{Tag: "count", Content: []byte{1}},
	},
}

func TestDecodeNode(t *testing.T) {
	t.Parallel()
	raw, err := encodeNode(sample)
	if err != nil {
		t.Fatal(err)
	}
	for name, data := range map[string][]byte{"plain": raw, "compressed": deflated(raw[1:])} {
		node, err := decodeNode(data)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if diff := cmp.Diff(sample, *node); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
	}
}

func deflated(data []byte) []byte {
	buf := bytes.NewBuffer([]byte{2})
	z := zlib.NewWriter(buf)
	_, _ = z.Write(data)
	_ = z.Close()
	return buf.Bytes()
}

func TestHostileNodesAreErrors(t *testing.T) {
	t.Parallel()
	deep := append([]byte{0}, bytes.Repeat([]byte{248, 2, 5, 248, 1}, 100000)...)
	wide := append([]byte{0, 248, 2, 5}, bytes.Repeat([]byte{249, 0xFF, 0xFF, 248, 2, 5}, 1000)...)
	for name, data := range map[string][]byte{
		"empty": {}, "flag only": {0}, "deep": deep, "wide": wide, "bomb": deflated(make([]byte, 64<<20)),
		"bad zlib": {2, 1, 2, 3}, "tag is a list": {0, 248, 1, 248, 0}, "no tag": {0, 248, 1, 0},
		"odd packed": {0, 248, 1, 255, 128}, "jid without user": {0, 248, 3, 5, 6, 247, 0, 0, 0},
	} {
		if node, err := decodeNode(data); err == nil {
			t.Errorf("%s: decoded to %v", name, node)
		}
	}
}

func FuzzDecodeNode(f *testing.F) {
	raw, err := encodeNode(sample)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(raw)
	f.Add(deflated(raw[1:]))
	f.Fuzz(func(_ *testing.T, data []byte) {
		node, err := decodeNode(data)
		if err != nil {
			return
		}
		// What decodes must not upset whoever reads it.
		_, _ = encodeNode(iqResult(node))
		_, _ = newScratch().usyncUser(*node)
	})
}

func newScratch() *Server { return &Server{devices: map[[32]byte]*device{}} }

func FuzzParseQR(f *testing.F) {
	f.Add("https://wa.me/settings/linked_devices#2@ref,AAAA,BBBB,CCCC,1")
	f.Fuzz(func(t *testing.T, text string) {
		if qr, err := parseQR(text); err == nil && (qr.ref == "" || len(qr.advSecret) != 32) {
			t.Fatalf("%+v", qr)
		}
	})
}

func TestLIDsAreReversible(t *testing.T) {
	t.Parallel()
	for _, number := range []string{"5511999999999", "1234567", "0000000", "999999999999999"} {
		if lid := lidOf(number); numberOf(lid) != number || lid == number {
			t.Errorf("%s -> %s -> %s", number, lid, numberOf(lid))
		}
	}
	for _, lid := range []string{"", "1", "2345", "1x", "1 2"} {
		if got := numberOf(lid); got != "" {
			t.Errorf("%q -> %s", lid, got)
		}
	}
}

func TestSelectors(t *testing.T) {
	t.Parallel()
	d := &device{number: "5511999999999", index: 3}
	for jid, want := range map[string]bool{
		"": true, "5511999999999": true, "+5511999999999": true, "5511999999999@c.us": true,
		"5511999999999@s.whatsapp.net": true, "5511999999999:3@s.whatsapp.net": true,
		lidOf("5511999999999") + "@lid": true, lidOf("5511999999999") + ":3@lid": true,
		"5511999999999:4@s.whatsapp.net": false, "5511999999998": false, d.jid().String(): true, d.lid().String(): true,
	} {
		sel, err := parseSelector(jid)
		if err != nil || sel.matches(d) != want {
			t.Errorf("%q: %+v, %v", jid, sel, err)
		}
	}
	for _, jid := range []string{"x", "x@s.whatsapp.net", "1@g.us", "a@b@c", "12:x@s.whatsapp.net"} {
		if sel, err := parseSelector(jid); !errors.Is(err, ErrBadJID) {
			t.Errorf("%q: %+v, %v", jid, sel, err)
		}
	}
}

func TestDeviceNumbersGrow(t *testing.T) {
	t.Parallel()
	s := &Server{devices: map[[32]byte]*device{}, lastIndex: map[string]uint16{"1": maxDevice - 1}}
	s.devices[[32]byte{1}] = &device{number: "1", index: 1}
	for _, want := range []uint16{maxDevice, 2, 3} {
		if got, err := s.nextIndexLocked("1"); err != nil || got != want {
			t.Fatal(got, err)
		}
	}
	for i := range maxDevice {
		s.devices[[32]byte{byte(i), 1}] = &device{number: "1", index: uint16(i + 1)}
	}
	if got, err := s.nextIndexLocked("1"); err == nil {
		t.Fatal(got)
	}
}

func TestVersions(t *testing.T) {
	t.Parallel()
	order := []string{"", "2", "2.3000", "2.3000.9", "2.3000.10", "3"}
	for i, low := range order {
		for j, high := range order {
			a, errA := parseVersion(low)
			b, errB := parseVersion(high)
			if errA != nil || errB != nil || a.less(b) != (i < j) {
				t.Errorf("%q < %q: %v %v %v", low, high, a.less(b), errA, errB)
			}
		}
	}
	for _, bad := range []string{"x", "1.2.3.4", "1.-2", "4294967296"} {
		if _, err := parseVersion(bad); err == nil {
			t.Errorf("%q accepted", bad)
		}
	}
}

func TestTimelineKeepsExactCounts(t *testing.T) {
	t.Parallel()
	tl := timeline{limit: 10}
	for range 1000 {
		tl.record(Event{Kind: EventLogin}, func(st *Stats) { st.Logins++ })
	}
	events, _ := tl.since(0)
	st := tl.snapshot()
	if len(events) > 10 || events[len(events)-1].Seq != 1000 || st.Logins != 1000 || st.EventsForgotten+len(events) != 1000 {
		t.Fatalf("%d events, %+v", len(events), st)
	}
	if events, _ := tl.since(999); len(events) != 1 {
		t.Fatal(events)
	}
}

func TestMalformedIsUsedUpByLogins(t *testing.T) {
	t.Parallel()
	s := &Server{Logger: slog.New(slog.DiscardHandler), timeline: timeline{limit: 100}}
	one, two := &device{number: "5511900000310", index: 1}, &device{number: "5511900000311", index: 1}
	takes := func(d *device, want ...MalformedKind) {
		t.Helper()
		for i, kind := range want {
			if got := s.takePoisonLocked(d); got != kind {
				t.Errorf("login %d gets %q, want %q", i, got, kind)
			}
		}
	}
	announce := func(jid string, kind MalformedKind, times int) {
		t.Helper()
		if n, err := s.Malformed(jid, kind, times); err != nil || n != 0 {
			t.Fatal(n, err)
		}
	}
	takes(one, "")
	announce(one.number, MalformedHandler, 2)
	takes(two, "")
	takes(nil, "")
	takes(one, MalformedHandler, MalformedHandler, "")
	announce(one.jid().String(), MalformedGoroutine, -1)
	takes(one, MalformedGoroutine, MalformedGoroutine)
	announce(one.jid().String(), MalformedOff, 0)
	takes(one, "")
	announce("", MalformedFrame, 3)
	announce("", MalformedHandler, 2) // in place of it
	takes(nil, MalformedHandler)
	takes(two, MalformedHandler, "")
}
