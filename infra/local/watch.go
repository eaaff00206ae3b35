package main

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/mdp/qrterminal/v3"
	"github.com/wafleet/wafleet/shared/session"
	"github.com/wafleet/wafleet/shared/store"
)

const (
	watchEvery = time.Second
	// watchLimit is how many sessions a terminal can be of use for.
	watchLimit = 50
)

// sessions is what the watch reads.
type sessions interface {
	Sessions(ctx context.Context, tenant session.TenantID, filter store.Filter) ([]session.Session, error)
	Pairing(ctx context.Context, tenant session.TenantID, name session.Name) (session.Session, session.Pairing, error)
}

// watcher tells a person what happens to sessions and draws what is to be
// scanned. Each code is drawn once.
type watcher struct {
	from   sessions
	tenant session.TenantID
	screen *console
	seen   map[session.Name]sight
}

// sight is what was last shown of a session.
type sight struct {
	status string
	code   string
}

// watch looks once a second until ctx ends; without a terminal it does nothing.
func watch(ctx context.Context, from sessions, tenant session.TenantID, screen *console) *sync.WaitGroup {
	var group sync.WaitGroup
	if !screen.Terminal {
		return &group
	}
	w := &watcher{from: from, tenant: tenant, screen: screen, seen: map[session.Name]sight{}}
	group.Go(func() {
		tick := time.NewTicker(watchEvery)
		defer tick.Stop()
		for {
			select {
			case <-tick.C:
				w.look(ctx)
			case <-ctx.Done():
				return
			}
		}
	})
	return &group
}

// look compares what is with what was shown. Trouble of the database is
// reported by those who need it more.
func (w *watcher) look(ctx context.Context) {
	list, err := w.from.Sessions(ctx, w.tenant, store.Filter{All: true, Limit: watchLimit})
	if err != nil {
		return
	}
	for _, s := range list {
		was, now := w.seen[s.Name], w.seen[s.Name]
		now.status = describe(s)
		status, _ := s.View()
		if status == session.ScanQRCode {
			now.code = w.code(ctx, s.Name, was.code)
		}
		w.seen[s.Name] = now
		if now.status != was.status {
			w.screen.Line(now.status)
		}
		if now.code != was.code && now.code != "" {
			w.screen.Print(drawing(s.Name, now.code))
		}
	}
}

// code is the current one, or the old one where none can be read.
func (w *watcher) code(ctx context.Context, name session.Name, old string) string {
	s, pairing, err := w.from.Pairing(ctx, w.tenant, name)
	if err != nil {
		return old
	}
	if code, _, ok := pairing.QR.Current(s.ReadAt); ok {
		return code
	}
	return old
}

func describe(s session.Session) string {
	status, reason := s.View()
	text := fmt.Sprintf("session %s: %s", s.Name, status)
	if reason != nil {
		text += fmt.Sprintf(" (%s: %s)", reason.Code, reason.Message)
	}
	return text
}

func drawing(name session.Name, code string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "\nScan this with WhatsApp to link session %s:\n\n", name)
	qrterminal.GenerateWithConfig(code, qrterminal.Config{
		Level: qrterminal.L, Writer: &b, HalfBlocks: true, QuietZone: 2,
		BlackChar: qrterminal.BLACK_BLACK, WhiteChar: qrterminal.WHITE_WHITE,
		BlackWhiteChar: qrterminal.BLACK_WHITE, WhiteBlackChar: qrterminal.WHITE_BLACK,
	})
	b.WriteByte('\n')
	return b.String()
}
