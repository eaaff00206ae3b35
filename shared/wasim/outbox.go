package wasim

import (
	"context"
	"sync"
	"time"

	waBinary "go.mau.fi/whatsmeow/binary"
)

// maxOutbox bounds a connection's queue. A client that reads so little loses its connection.
const maxOutbox = 16384

// outItem is a stanza to write, or the way to end the connection, not before its time.
type outItem struct {
	due   time.Time
	pause time.Duration // and not before so long after the item in front of it was written
	node  waBinary.Node
	raw   []byte   // if not nil, written in place of the node
	end   DropMode // if not empty, nothing is written and the connection is ended in this way
	why   string
}

// ready is when an item that the writer has come to may be written.
func (i outItem) ready(now time.Time) time.Time {
	if next := now.Add(i.pause); next.After(i.due) {
		return next
	}
	return i.due
}

// plain is the item as it is before it is enciphered.
func (i outItem) plain() ([]byte, error) {
	if i.raw != nil {
		return i.raw, nil
	}
	return encodeNode(i.node)
}

// outbox is the queue of a connection's writer.
type outbox struct {
	mu    sync.Mutex
	items []outItem
	wake  chan struct{} // one slot
}

func newOutbox() *outbox {
	return &outbox{wake: make(chan struct{}, 1)}
}

// put appends an item and reports whether there was room.
func (o *outbox) put(item outItem) bool {
	o.mu.Lock()
	full := len(o.items) >= maxOutbox
	if !full {
		o.items = append(o.items, item)
	}
	o.mu.Unlock()
	select {
	case o.wake <- struct{}{}:
	default:
	}
	return !full
}

// take returns the oldest item as soon as it is ready, and false when ctx has ended. The writer asks when it has written
// the item before.
func (o *outbox) take(ctx context.Context) (outItem, bool) {
	for {
		o.mu.Lock()
		if len(o.items) > 0 {
			item := o.items[0]
			if o.items = o.items[1:]; len(o.items) == 0 {
				o.items = nil
			}
			o.mu.Unlock()
			return item, sleepUntil(ctx, item.ready(time.Now()))
		}
		o.mu.Unlock()
		select {
		case <-o.wake:
		case <-ctx.Done():
			return outItem{}, false
		}
	}
}

// sleepUntil reports false if ctx ended first.
func sleepUntil(ctx context.Context, due time.Time) bool {
	wait := time.Until(due)
	if due.IsZero() || wait <= 0 {
		return ctx.Err() == nil
	}
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}
