package control

import (
	"context"
	"errors"
	"time"

	"github.com/wafleet/wafleet/shared/session"
)

// The pauses between looks: short at first, as what is waited for mostly takes ten
// milliseconds, and a quarter longer each time. Five seconds are sixty looks.
const (
	firstPause = 2 * time.Millisecond
	lastPause  = 100 * time.Millisecond
)

// poll calls look until it says that waiting longer is of no use, or until the
// context ends; the answer is look's last one. A look that the end of the
// context itself cut short does not count, where there was one before it.
func poll(ctx context.Context, look func() (wait bool, err error)) error {
	var last error
	for pause := firstPause; ; pause = min(pause+pause/4, lastPause) {
		wait, err := look()
		cutShort := ctx.Err() != nil && errors.Is(err, session.ErrUnavailable)
		if cutShort && last != nil {
			return last
		}
		if !wait {
			return err
		}
		last = err
		timer := time.NewTimer(pause)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return last
		}
	}
}
