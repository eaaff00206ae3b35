package whatsapp

import (
	"context"
	"sync"
	"time"

	"go.mau.fi/whatsmeow/types/events"
)

// orderTimeout bounds how long an event is held back for the one before it.
const orderTimeout = 5 * time.Second

// order keeps the events of a connection in the order in which they happened.
// whatsmeow tells each from a goroutine of its own, so the end of a pairing can
// be heard before the pairing, and a logout before the credentials are deleted.
// Whoever hears the second closes the connection, and with it goes the first.
type order struct {
	saved     *latch // the new device is saved: a pairing is under way
	linked    *latch // its result was told
	forgotten *latch // deleting the device was tried
}

func newOrder() *order { return &order{newLatch(), newLatch(), newLatch()} }

// before returns when what must come before an event has happened.
func (o *order) before(ctx context.Context, raw any) {
	switch raw.(type) {
	case *events.LoggedOut:
		o.forgotten.wait(ctx)
	case *events.ManualLoginReconnect, *events.Disconnected:
		if o.saved.isSet() {
			o.linked.wait(ctx)
		}
	}
}

// after notes that an event was told.
func (o *order) after(raw any) {
	switch raw.(type) {
	case *events.PairSuccess, *events.PairError:
		o.linked.set()
	}
}

// latch is set once and stays set.
type latch struct {
	once sync.Once
	c    chan struct{}
}

func newLatch() *latch { return &latch{c: make(chan struct{})} }

func (l *latch) set() { l.once.Do(func() { close(l.c) }) }

func (l *latch) isSet() bool { return isClosed(l.c) }

func (l *latch) wait(ctx context.Context) {
	timer := time.NewTimer(orderTimeout)
	defer timer.Stop()
	select {
	case <-l.c:
	case <-timer.C:
	case <-ctx.Done():
	}
}
