package whatsapp

import (
	"context"
	"errors"
	"fmt"
	"runtime/pprof"
	"sync"
	"time"

	"go.mau.fi/whatsmeow"
	waBinary "go.mau.fi/whatsmeow/binary"
	"go.mau.fi/whatsmeow/proto/waWa6"
	"go.mau.fi/whatsmeow/store"
	"go.mau.fi/whatsmeow/types"
	"go.mau.fi/whatsmeow/types/events"

	"github.com/wafleet/wafleet/connector/event"
	"github.com/wafleet/wafleet/shared/session"
)

// settle bounds the wait for a reader to hand over what it has read.
const settle = time.Second

// sessionLabel is the profiling label of every goroutine that whatsmeow runs
// for a session. It shows in profiles, and in the report of a crash where
// GODEBUG has tracebacklabels=1.
const sessionLabel = "session"

// Conn is one connection of a device to WhatsApp: one client, one socket.
type Conn struct {
	device    *Device
	client    *whatsmeow.Client
	sockets   *sockets
	order     *order
	lastWords lastWords
	finals    map[string]nodeHandler // the handlers of finalTags
	tell      func(event.Event)      // tells the caller, until the connection ends
	cancel    context.CancelCauseFunc
	unfollow  func() bool // stops following the caller's context
	ended     sync.Once

	dialed    chan struct{} // closed when whatsmeow's connect has returned
	mu        sync.Mutex
	finishing bool // guarded by mu: the last step of the handshake has begun
}

var errClosed = errors.New("the connection was closed")

// Connect dials WhatsApp and finishes the handshake; logging in or linking goes
// on in the background and is told to sink, from any goroutine, until Close.
// An empty jid makes a new, unlinked device. ctx bounds the life of the
// connection, not only the dial.
//
// Errors: event.ErrNoDevice, event.ErrStore, or whatever kept WhatsApp from
// answering.
func (d *Device) Connect(ctx context.Context, jid string, sink func(event.Event)) (*Conn, error) {
	if d.broken != nil {
		return nil, fmt.Errorf("%w: %w", event.ErrStore, d.broken)
	}
	device, err := d.load(ctx, jid)
	if err != nil {
		return nil, err
	}
	c := &Conn{device: d, sockets: newSockets(d.term.Held), order: newOrder(), finals: map[string]nodeHandler{}, dialed: make(chan struct{})}
	fence(device, d.gate, c.order)
	// whatsmeow's own context ends a moment after the caller's: see end.
	var own context.Context
	own, c.cancel = context.WithCancelCause(c.sockets.in(context.WithoutCancel(ctx)))
	c.tell = func(e event.Event) {
		if own.Err() == nil {
			sink(e)
		}
	}
	c.client = c.newClient(own, device)
	c.sockets.lost = func() { d.devices.leftovers.Go(func() { c.hearOut(own) }) }
	c.unfollow = context.AfterFunc(ctx, func() { c.end(context.Cause(ctx)) })
	name := device.PushName // from here on it belongs to whatsmeow's goroutines

	done := make(chan error, 1)
	d.devices.leftovers.Go(func() {
		defer close(c.dialed)
		pprof.SetGoroutineLabels(pprof.WithLabels(own, pprof.Labels(sessionLabel, string(d.term.ID))))
		done <- c.connect(own)
	})
	select {
	case err = <-done:
	case <-ctx.Done():
		err = context.Cause(ctx)
	}
	if err != nil {
		c.Close()
		return nil, err
	}
	if connected := d.devices.config.Connected; connected != nil {
		connected()
	}
	if name != "" {
		sink(event.Named{PushName: name})
	}
	return c, nil
}

// load reads the linked device, or makes a new one.
func (d *Device) load(ctx context.Context, jid string) (*store.Device, error) {
	if jid == "" {
		device := d.container.NewDevice()
		device.Container = batchingContainer{device.Container, d}
		d.devices.leftovers.Go(d.devices.keys.prepare)
		return device, nil
	}
	parsed, err := types.ParseJID(jid)
	if err != nil {
		return nil, fmt.Errorf("the stored device id is malformed: %w", err)
	}
	device, err := d.container.GetDevice(ctx, parsed)
	if err != nil {
		return nil, fmt.Errorf("%w: load the device: %w", event.ErrStore, err)
	}
	if device == nil {
		return nil, event.ErrNoDevice
	}
	d.batch(device)
	return device, nil
}

func (c *Conn) newClient(ctx context.Context, device *store.Device) *whatsmeow.Client {
	d := c.device
	client := whatsmeow.NewClient(device, logger{log: d.term.Log})
	c.containHandlers(client)
	d.devices.seams.shrink(client)
	client.EnableAutoReconnect = false
	client.DisableLoginAutoReconnect = true
	client.EmitAppStateEventsOnFullSync = true // the display name comes this way
	client.ManualHistorySyncDownload = true
	client.BackgroundEventCtx = ctx
	client.GetClientPayload = func() *waWa6.ClientPayload {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.finishing = true
		c.sockets.unsettle()
		return d.devices.versions.payload(device)
	}
	client.SetWebsocketHTTPClient(d.client)
	client.SetPreLoginHTTPClient(d.client)
	client.SetMediaHTTPClient(d.client)
	client.AddEventHandler(func(raw any) {
		e := translate(raw)
		if e == nil {
			return
		}
		c.order.before(ctx, raw)
		if _, lost := raw.(*events.Disconnected); lost {
			if c.hearOut(ctx); c.explained() {
				return
			}
		}
		c.tell(e)
		c.order.after(raw)
	})
	return client
}

// PairPhone asks WhatsApp for a code, XXXX-XXXX, that links this device to the
// phone of that number. The connection must have shown QR codes before.
func (c *Conn) PairPhone(ctx context.Context, phone session.Phone) (string, error) {
	return c.client.PairPhone(ctx, string(phone), true, whatsmeow.PairClientChrome, displayName)
}

// Unlink asks WhatsApp to forget this device, as its user may do on the phone.
// The credentials stay in the store; see [Device.Forget]. The client's own Logout
// deletes them on the way and waits for the far side to close.
func (c *Conn) Unlink(ctx context.Context, jid string) error {
	own, err := types.ParseJID(jid)
	if err != nil {
		return fmt.Errorf("the device id is malformed: %w", err)
	}
	//lint:ignore SA1019 whatsmeow offers no other way to unlink without deleting
	_, err = c.client.DangerousInternals().SendIQ(ctx, whatsmeow.DangerousInfoQuery{
		Namespace: "md", Type: "set", To: types.ServerJID,
		Content: []waBinary.Node{{Tag: "remove-companion-device", Attrs: waBinary.Attrs{"jid": own, "reason": "user_initiated"}}},
	})
	return err
}

// Probe sends one keepalive and reports whether it was answered in time.
func (c *Conn) Probe(ctx context.Context) bool {
	//lint:ignore SA1019 whatsmeow offers no other way to send a keepalive out of turn
	answered, _ := c.client.DangerousInternals().SendKeepAlive(ctx)
	return answered
}

// Heard is when the newest byte came in from WhatsApp, and zero before the
// first. It has a monotonic reading.
func (c *Conn) Heard() time.Time { return c.sockets.lastHeard() }

// Up reports whether the connection is logged in and its socket open. It takes
// no lock of whatsmeow's, which may be held for long.
func (c *Conn) Up() bool { return c.client.IsLoggedIn() && c.sockets.anyOpen() }

// Close ends the connection and returns when the socket is closed: at once, or
// within two seconds where whatsmeow is busy. Nothing is said to the far side: whatsmeow's own
// Disconnect waits for its answer, and leaves its reader behind for ever where a
// frame comes in meanwhile.
func (c *Conn) Close() {
	c.unfollow()
	c.end(errClosed)
}

// end stops the reader between two frames, then whatsmeow, then the socket. The
// order matters: a reader that holds a frame when whatsmeow's context ends finds
// nobody to take it, and a socket closed before that is logged as an error.
func (c *Conn) end(cause error) {
	c.ended.Do(func() {
		c.sockets.drain(settle)
		c.lockOutsideFinish()
		defer c.mu.Unlock()
		//lint:ignore SA1019 whatsmeow offers no other way to free requests that wait for another connection
		c.client.DangerousInternals().ExpectDisconnect()
		c.cancel(cause)
		c.sockets.close()
	})
}

// lockOutsideFinish locks mu before or after the last step of the handshake, not
// in it: there whatsmeow sets, without a lock, what its reader calls when the
// socket closes. A step that begins afterwards finds the socket closed.
func (c *Conn) lockOutsideFinish() {
	c.mu.Lock()
	if !c.finishing {
		return
	}
	c.mu.Unlock()
	timer := time.NewTimer(settle)
	defer timer.Stop()
	select {
	case <-c.dialed:
	case <-timer.C:
	}
	c.mu.Lock()
}
