package store

import (
	"context"
	"log/slog"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/lib/pq"
	"github.com/wafleet/wafleet/shared/session"
)

const (
	// Pauses between attempts to bring the listening connection back.
	minListenPause = 250 * time.Millisecond
	maxListenPause = 5 * time.Second
	// A dead connection shows only when something is written to it: that often,
	// and it is given up where no answer comes.
	listenProbe  = 30 * time.Second
	listenAnswer = 10 * time.Second
)

// Listen calls hint with the id of every session that something is said to
// have changed about, and with an empty id after each (re)connection, when
// hints may have been missed. It returns when ctx ends, at the latest after the
// connect_timeout of the URL, 5 s, where it is connecting then. It needs a direct
// connection: a transaction pooler swallows notifications without an error.
func (s *Store) Listen(ctx context.Context, log *slog.Logger, hint func(session.ID)) error {
	pause := minListenPause
	for ctx.Err() == nil {
		heard, err := s.listenOnce(ctx, hint)
		if ctx.Err() != nil {
			return nil
		}
		logOf(log).Warn("hints are interrupted; polling goes on", "error", err.Error())
		if heard {
			pause = minListenPause
		}
		rest(ctx, pause)
		pause = min(2*pause, maxListenPause)
	}
	return nil
}

// listenOnce is one connection's worth of hints. heard says that it listened.
func (s *Store) listenOnce(ctx context.Context, hint func(session.ID)) (heard bool, err error) {
	notes := make(chan *pq.Notification, 32)
	conn, err := s.connector.listen(ctx, notes)
	if err != nil {
		return false, err
	}
	defer drop(conn, notes)
	defer context.AfterFunc(ctx, func() { conn.Close() })()
	if _, err := conn.Listen(HintChannel); err != nil {
		return false, err
	}
	hint("")
	var probes sync.WaitGroup
	defer probes.Wait()
	defer conn.Close()
	probe := time.NewTicker(listenProbe)
	defer probe.Stop()
	for {
		select {
		case n, open := <-notes:
			if !open {
				return true, conn.Err()
			}
			hint(session.ID(n.Extra))
		case <-probe.C:
			probes.Go(func() {
				defer time.AfterFunc(listenAnswer, func() { conn.Close() }).Stop()
				_, _ = conn.ExecSimpleQuery("") // what fails ends the notes; the driver's own Ping may panic
			})
		}
	}
}

// drop ends a connection and waits for its end.
func drop(conn *pq.ListenerConn, notes <-chan *pq.Notification) {
	conn.Close()
	for range notes {
	}
}

// rest waits for a pause, or half of it at least.
func rest(ctx context.Context, pause time.Duration) {
	timer := time.NewTimer(pause/2 + rand.N(pause/2)) // #nosec G404 -- spreads load
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-timer.C:
	}
}
