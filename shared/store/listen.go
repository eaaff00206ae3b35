package store

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/lib/pq"
	"github.com/wafleet/wafleet/shared/session"
)

// Pauses between attempts to bring the listening connection back.
const (
	minListenPause = 250 * time.Millisecond
	maxListenPause = 5 * time.Second
	listenProbe    = 30 * time.Second
)

// Listen calls hint with the id of every session that something is said to
// have changed about, and with an empty id after each (re)connection, when
// hints may have been missed. It returns when ctx ends. It needs a direct
// connection: a transaction pooler swallows notifications without an error.
func (s *Store) Listen(ctx context.Context, log *slog.Logger, hint func(session.ID)) error {
	listener := pq.NewListener(s.dsn, minListenPause, maxListenPause, func(event pq.ListenerEventType, err error) {
		if err != nil && ctx.Err() == nil {
			logOf(log).Warn("hints are interrupted; polling goes on", "event", int(event), "error", err.Error())
		}
	})
	var pings sync.WaitGroup
	defer pings.Wait()
	defer listener.Close()
	// Listen fails only where the channel is taken already or the listener is
	// closed; without a server it waits, so it gets a goroutine of its own.
	subscribed := make(chan error, 1)
	go func() { subscribed <- listener.Listen(HintChannel) }()
	probe := time.NewTicker(listenProbe)
	defer probe.Stop()
	for {
		select {
		case <-ctx.Done():
			listener.Close()
			if subscribed != nil {
				<-subscribed
			}
			return nil
		case err := <-subscribed:
			if err != nil {
				return domain("listen for hints", err)
			}
			subscribed = nil
			hint("")
		case n := <-listener.NotificationChannel():
			if n == nil { // the connection was lost and is back
				hint("")
				continue
			}
			hint(session.ID(n.Extra))
		case <-probe.C:
			// A dead connection shows only when something is written to it. The
			// write may block until Close.
			pings.Go(func() { _ = listener.Ping() })
		}
	}
}
