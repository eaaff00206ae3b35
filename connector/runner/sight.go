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
