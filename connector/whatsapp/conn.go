package whatsapp

import (
	"context"
	"errors"
	"fmt"
	"time"

	"go.mau.fi/whatsmeow"
	"go.mau.fi/whatsmeow/proto/waWa6"
	"go.mau.fi/whatsmeow/store"
	"go.mau.fi/whatsmeow/types"

	"github.com/wafleet/wafleet/connector/event"
	"github.com/wafleet/wafleet/shared/session"
)

// politeClose is how long a closing handshake may take before the socket is
// simply closed.
const politeClose = time.Second

// Conn is one connection of a device to WhatsApp: one client, one socket.
type Conn struct {
	device  *Device
	client  *whatsmeow.Client
	sockets *sockets
	cancel  context.CancelCauseFunc
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
	device, err := d.load(ctx, jid)
	if err != nil {
		return nil, err
	}
	fence(device, d.term.Held)
	c := &Conn{device: d, sockets: newSockets(d.term.Held)}
	ctx, c.cancel = context.WithCancelCause(ctx)
	ctx = c.sockets.in(ctx)
	c.client = d.newClient(ctx, device, sink)
	name := device.PushName // from here on it belongs to whatsmeow's goroutines

	done := make(chan error, 1)
	d.devices.leftovers.Go(func() { done <- c.client.ConnectContext(ctx) })
	select {
	case err = <-done:
	case <-ctx.Done():
		err = context.Cause(ctx)
	}
	if err != nil {
		c.kill()
		return nil, err
	}
	if name != "" {
		sink(event.Named{PushName: name})
	}
	return c, nil
}

// load reads the linked device, or makes a new one.
func (d *Device) load(ctx context.Context, jid string) (*store.Device, error) {
	if jid == "" {
		return d.container.NewDevice(), nil
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
	return device, nil
}

func (d *Device) newClient(ctx context.Context, device *store.Device, sink func(event.Event)) *whatsmeow.Client {
	client := whatsmeow.NewClient(device, logger{log: d.term.Log})
	client.EnableAutoReconnect = false
	client.DisableLoginAutoReconnect = true
	client.EmitAppStateEventsOnFullSync = true // the display name comes this way
	client.ManualHistorySyncDownload = true
	client.BackgroundEventCtx = ctx
	client.GetClientPayload = func() *waWa6.ClientPayload { return d.devices.versions.payload(device) }
	client.SetWebsocketHTTPClient(d.client)
	client.SetPreLoginHTTPClient(d.client)
	client.SetMediaHTTPClient(d.client)
	client.AddEventHandler(func(raw any) {
		if e := translate(raw); e != nil && ctx.Err() == nil {
			sink(e)
		}
	})
	return client
}

// PairPhone asks WhatsApp for a code, XXXX-XXXX, that links this device to the
// phone of that number. The connection must have shown QR codes before.
func (c *Conn) PairPhone(ctx context.Context, phone session.Phone) (string, error) {
	return c.client.PairPhone(ctx, string(phone), true, whatsmeow.PairClientChrome, displayName)
}

// Probe sends one keepalive and reports whether it was answered in time.
func (c *Conn) Probe(ctx context.Context) bool {
	answered, _ := c.client.DangerousInternals().SendKeepAlive(ctx)
	return answered
}

// Close ends the connection and returns when the socket is closed, politely
// where the far side plays along, within a second in any case.
func (c *Conn) Close() {
	if c.device.term.Held() == nil {
		polite := make(chan struct{})
		c.device.devices.leftovers.Go(func() {
			defer close(polite)
			c.client.Disconnect()
		})
		timer := time.NewTimer(politeClose)
		defer timer.Stop()
		select {
		case <-polite:
		case <-timer.C:
		}
	}
	c.kill()
}

func (c *Conn) kill() {
	c.cancel(errClosed)
	c.sockets.close()
}
