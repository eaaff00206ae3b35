package runner

import (
	"time"

	"github.com/wafleet/wafleet/shared/session"
)

// sight is what other goroutines may see of a runner, replaced as a whole at
// every change.
type sight struct {
	phase   phase
	shown   session.Status
	since   time.Time // when the phase began
	attempt int       // that conn is of
	conn    Conn      // nil while there is none
	heard   time.Time // on connections before conn
}

// look publishes what others may see. Only the loop calls it.
func (r *Runner) look() {
	before := r.sight.Load()
	now := sight{phase: r.phase, shown: r.shown.State, since: time.Now(), conn: r.link.conn, attempt: r.link.attempt, heard: r.heard}
	if before != nil && before.phase == now.phase {
		if before.shown == now.shown && before.attempt == now.attempt && (before.conn == nil) == (now.conn == nil) {
			return
		}
		now.since = before.since
	}
	r.sight.Store(&now)
}

// lastHeard is WhatsApp's last sign of life on a connection, if there is one,
// or on those before it; zero before the first.
func lastHeard(conn Conn, earlier time.Time) time.Time {
	if conn != nil {
		if at := conn.Heard(); at.After(earlier) {
			return at
		}
	}
	return earlier
}

// Heard is WhatsApp's last sign of life while the session shows as WORKING, and
// zero while it does not. Like Working and Pairing it may be called from any
// goroutine.
func (r *Runner) Heard() time.Time {
	if s := r.sight.Load(); s != nil && s.shown == session.Working {
		return lastHeard(s.conn, s.heard)
	}
	return time.Time{}
}

// Working is for how long the session has been logged in without a break, or
// zero.
func (r *Runner) Working() time.Duration {
	if s := r.sight.Load(); s != nil && s.phase == working {
		return time.Since(s.since)
	}
	return 0
}

// Pairing reports whether a phone may link the session now, or just has.
func (r *Runner) Pairing() bool {
	s := r.sight.Load()
	return s != nil && (s.phase == scanning || s.phase == linking)
}

// doubted says that a connection that works does not look like it.
type doubted struct{ attempt int }

// Watch makes sure that a session that works is connected, logged in and heard
// of: the library tells of the end of a connection, but not of every end. It is
// called every few seconds, from any goroutine, and costs next to nothing.
func (r *Runner) Watch() {
	s := r.sight.Load()
	if s == nil || s.phase != working || s.conn == nil {
		return
	}
	if !s.conn.Up() || time.Since(s.conn.Heard()) > r.deps.Timing.Silence {
		r.post(doubted{s.attempt})
	}
}

// onDoubted gives a connection up that is over and has not said so. What it said
// last may still be on its way, behind a message that takes long: that another
// program has logged in, say, which must not be answered with a login of ours.
func (r *Runner) onDoubted(d doubted) {
	if r.phase != working || d.attempt != r.link.attempt || r.link.conn == nil {
		return
	}
	if r.link.conn.Up() {
		r.log.Warn("WhatsApp was silent for too long, and no keepalive told", "silence", time.Since(r.link.conn.Heard()).Round(time.Second).String())
		r.lost(reason{code: session.KeepAlive})
		return
	}
	if r.link.current.down.IsZero() {
		r.link.current.down = time.Now()
	}
	if time.Since(r.link.current.down) < r.deps.Timing.Untold {
		return
	}
	r.log.Warn("the connection is over, and nothing told")
	r.onDisconnected()
}
