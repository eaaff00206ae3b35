package whatsapp

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"runtime/debug"
	"sync"
	"unsafe"

	"go.mau.fi/whatsmeow"
	waBinary "go.mau.fi/whatsmeow/binary"
	noise "go.mau.fi/whatsmeow/socket"

	"github.com/wafleet/wafleet/connector/event"
	"github.com/wafleet/wafleet/shared/telemetry"
)

// seams are the fields of whatsmeow behind which its panics can be caught. They
// are not exported, so their names and types are checked before the first
// client exists: an update of whatsmeow must not take the protection away
// unnoticed.
type seams struct {
	handlers int // of whatsmeow.Client: what serves a stanza, by its tag
	lock     int // of whatsmeow.Client: guards socket
	socket   int // of whatsmeow.Client: the *socket.NoiseSocket in use
	onFrame  int // of socket.NoiseSocket: what takes a deciphered frame

	// recent is of whatsmeow.Client: the messages that were sent last. Without it
	// nothing is unsafe, a client is only larger; it is negative then.
	recent int
}

type nodeHandler = func(context.Context, *waBinary.Node)

func newSeams() (seams, error) {
	return findSeams(reflect.TypeFor[whatsmeow.Client](), reflect.TypeFor[noise.NoiseSocket]())
}

func findSeams(client, connection reflect.Type) (seams, error) {
	var problems []error
	find := func(in reflect.Type, name, want string, fits func(reflect.Type) bool) int {
		field, ok := in.FieldByName(name)
		if !ok || len(field.Index) != 1 || !fits(field.Type) {
			problems = append(problems, fmt.Errorf("%s has no field %s of type %s", in, name, want))
			return 0
		}
		return field.Index[0]
	}
	is := func(want reflect.Type) func(reflect.Type) bool {
		return func(got reflect.Type) bool { return got == want }
	}
	s := seams{
		handlers: find(client, "nodeHandlers", "map[string]func(context.Context, *binary.Node)", isHandlerMap),
		lock:     find(client, "socketLock", "sync.RWMutex", is(reflect.TypeFor[sync.RWMutex]())),
		socket:   find(client, "socket", "*socket.NoiseSocket", is(reflect.TypeFor[*noise.NoiseSocket]())),
		onFrame:  find(connection, "onFrame", "socket.FrameHandler", is(reflect.TypeFor[noise.FrameHandler]())),
	}
	s.recent = -1
	if field, ok := client.FieldByName("recentMessagesMap"); ok && len(field.Index) == 1 && field.Type.Kind() == reflect.Map {
		s.recent = field.Index[0]
	}
	if len(problems) > 0 {
		return s, fmt.Errorf("panics in this version of whatsmeow cannot be contained: %w", errors.Join(problems...))
	}
	return s, nil
}

func isHandlerMap(t reflect.Type) bool {
	return t.Kind() == reflect.Map && t.Key() == reflect.TypeFor[string]() &&
		t.Elem().Kind() == reflect.Func && t.Elem().ConvertibleTo(reflect.TypeFor[nodeHandler]())
}

// field returns a field of what p points to, without the guard of its name.
func field(p any, index int) reflect.Value {
	f := reflect.ValueOf(p).Elem().Field(index)
	return reflect.NewAt(f.Type(), unsafe.Pointer(f.UnsafeAddr())).Elem() // #nosec G103 -- reaches a field of whatsmeow that has no accessor; findSeams has checked its type
}

// shrink gives back what whatsmeow sets aside in every client for the messages
// that it may send: a map with room for 256, which is 39 KB of the 140 that an idle
// client takes. It grows again where there are some. It must be called before the
// client connects.
func (s seams) shrink(client *whatsmeow.Client) {
	if s.recent >= 0 {
		recent := field(client, s.recent)
		recent.Set(reflect.MakeMap(recent.Type()))
	}
}

// containHandlers must be called before the client connects.
func (c *Conn) containHandlers(client *whatsmeow.Client) {
	handlers := field(client, c.device.devices.seams.handlers)
	for _, tag := range handlers.MapKeys() {
		handler := handlers.MapIndex(tag)
		contained := c.containHandler(tag.String(), handler.Convert(reflect.TypeFor[nodeHandler]()).Interface().(nodeHandler))
		if finalTags[tag.String()] != nil {
			c.finals[tag.String()] = contained
			contained = c.lastWords.once(contained)
		}
		handlers.SetMapIndex(tag, reflect.ValueOf(contained).Convert(handler.Type()))
	}
}

func (c *Conn) containHandler(tag string, handle nodeHandler) nodeHandler {
	return func(ctx context.Context, node *waBinary.Node) {
		defer c.contain(tag)
		handle(ctx, node)
	}
}

// containFrames must be called after the client has connected and before its
// reader gets the first frame: the sockets hold that back.
func (c *Conn) containFrames() {
	s := c.device.devices.seams
	lock := field(c.client, s.lock).Addr().Interface().(*sync.RWMutex)
	lock.RLock()
	defer lock.RUnlock()
	connection := field(c.client, s.socket).Interface().(*noise.NoiseSocket)
	if connection == nil { // closed in the meantime
		return
	}
	onFrame := field(connection, s.onFrame).Addr().Interface().(*noise.FrameHandler)
	handle := *onFrame
	*onFrame = func(ctx context.Context, frame []byte) {
		defer c.contain("frame")
		c.lastWords.hear(frame)
		handle(ctx, frame)
	}
}

// contain must be deferred. It keeps a panic from ending the process and tells
// of it; what the session does then is the runner's. where is the tag of a
// stanza, or a step of the connection.
func (c *Conn) contain(where string) {
	if value := recover(); value != nil {
		c.panicked(where, value)
	}
}

func (c *Conn) panicked(where string, value any) {
	stack := debug.Stack()
	c.device.term.Log.Error("a panic in whatsmeow was contained",
		"in", where, "panic", telemetry.Redact(fmt.Sprint(value)), "stack", string(stack))
	c.tell(event.Panicked{Value: value, Stack: stack})
}

// connect is whatsmeow's connect, contained. The goroutines that whatsmeow
// starts in it serve the connection for as long as it lives.
func (c *Conn) connect(ctx context.Context) (err error) {
	defer c.sockets.settle()
	defer func() {
		if value := recover(); value != nil {
			c.panicked("connect", value)
			err = fmt.Errorf("whatsmeow panicked: %s", telemetry.Redact(fmt.Sprint(value)))
		}
	}()
	if err := c.client.ConnectContext(ctx); err != nil {
		return err
	}
	c.containFrames()
	return nil
}
