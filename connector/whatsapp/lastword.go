package whatsapp

import (
	"bytes"
	"context"
	"sync"
	"time"

	waBinary "go.mau.fi/whatsmeow/binary"
)

// lastFrame is how long the newest frame may take from the socket to the place
// where it is heard. A lost connection is told that much later.
const lastFrame = 200 * time.Millisecond

// lastWords are the stanzas of a connection that say why it ends. whatsmeow
// queues every stanza for another goroutine, and that one ends with the socket:
// where the far side closes right behind its last stanza, the stanza is forgotten
// about as often as not, and a logout looks like a bad network. Worse, so does the
// login of another program, and the two then throw each other out. So these
// stanzas are also noted where the reader hands them in, and what is left when
// the connection is lost is handled then.
type lastWords struct {
	serial sync.Mutex // held while one is handled

	mu    sync.Mutex
	left  []*waBinary.Node // guarded by mu: heard and not handled, oldest first
	stale int              // guarded by mu: handled already, and perhaps still in whatsmeow's queue
}

// finalTags are the tags that end a connection, as a frame has them.
var finalTags = map[string][]byte{"stream:error": encodedTag("stream:error"), "failure": encodedTag("failure")}

// listHeader is what stands in front of a tag in an unpacked, uncompressed frame:
// the packing, the kind of list, its size.
const listHeader = 3

func encodedTag(tag string) []byte {
	encoded, err := waBinary.Marshal(waBinary.Node{Tag: tag})
	if err != nil || len(encoded) <= listHeader {
		panic("whatsmeow encodes the tag " + tag + " as nothing") // at start-up, whatever the input
	}
	return encoded[listHeader:]
}

// hear notes a deciphered frame that is a last word; of the others it looks at a
// few bytes. A compressed one is never looked into: last words are short.
func (l *lastWords) hear(frame []byte) {
	if len(frame) <= listHeader || frame[0] != 0 {
		return
	}
	for _, tag := range finalTags {
		if !bytes.HasPrefix(frame[listHeader:], tag) {
			continue
		}
		if node, err := waBinary.Unmarshal(frame[1:]); err == nil {
			l.mu.Lock()
			l.left = append(l.left, node)
			l.mu.Unlock()
		}
		return
	}
}

// takeOut returns the oldest word that nobody has handled. Who asks handles it in
// the queue's place.
func (l *lastWords) takeOut() (*waBinary.Node, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.left) == 0 {
		return nil, false
	}
	node := l.left[0]
	l.left = l.left[1:]
	l.stale++
	return node, true
}

// queued reports whether the word that comes out of whatsmeow's queue has yet to
// be handled. One that was never noted, as its frame was compressed, has.
func (l *lastWords) queued() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case len(l.left) > 0:
		l.left = l.left[1:]
	case l.stale > 0:
		l.stale--
		return false
	}
	return true
}

// once wraps the handler of a final tag: it leaves alone what was handled when
// the connection was lost.
func (l *lastWords) once(handle nodeHandler) nodeHandler {
	return func(ctx context.Context, node *waBinary.Node) {
		l.serial.Lock()
		defer l.serial.Unlock()
		if l.queued() {
			handle(ctx, node)
		}
	}
}

// hearOut handles what was said before the connection was lost and is not
// handled yet.
func (c *Conn) hearOut(ctx context.Context) {
	timer := time.NewTimer(lastFrame)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
		return
	}
	c.lastWords.serial.Lock()
	defer c.lastWords.serial.Unlock()
	for {
		node, ok := c.lastWords.takeOut()
		if !ok {
			return
		}
		c.finals[node.Tag](ctx, node)
	}
}

// explained reports whether whatsmeow tells why the connection ended. Then that
// it did is nothing to tell.
func (c *Conn) explained() bool {
	//lint:ignore SA1019 whatsmeow tells it nowhere else
	return c.client.DangerousInternals().IsExpectedDisconnect()
}
