package whatsapp

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/wafleet/wafleet/connector/event"
	"github.com/wafleet/wafleet/shared/session"
)

// Forget removes a device from the store: its credentials and everything that
// belongs to it. Connections must be closed before. That there is none is no
// error.
//
// What whatsmeow does for a connection may outlive it, and saving the device
// makes it anew. So the gate that all of it passes is shut first, for good, and
// connections after this one get another.
func (d *Device) Forget(ctx context.Context, jid string) error {
	err := d.gate.close()
	d.gate = newGate(d.term.Held)
	if err != nil {
		return fmt.Errorf("%w: forget the device: %w", event.ErrStore, err)
	}
	device, err := d.load(ctx, jid)
	if errors.Is(err, event.ErrNoDevice) {
		return nil
	}
	if err != nil {
		return err
	}
	fence(device, d.gate, newOrder())
	if err := device.Delete(ctx); err != nil {
		return fmt.Errorf("%w: forget the device: %w", event.ErrStore, err)
	}
	return nil
}

// Erase removes everything that a session keeps here, its linked device, if it
// has one, and its directory, and closes the store.
func (d *Device) Erase(ctx context.Context, jid string) error {
	if d.container == d.devices.shared && jid != "" {
		if err := d.Forget(ctx, jid); err != nil {
			return errors.Join(err, d.Close())
		}
	}
	if err := d.Close(); err != nil {
		return err
	}
	if err := d.term.Held(); err != nil {
		return err
	}
	return d.removeDirectory()
}

// OpenToErase opens the store of a session that is deleted. One that is broken
// is no reason to keep it: then nothing can be done with it but [Device.Erase].
func (d *Devices) OpenToErase(ctx context.Context, term Term) (*Device, error) {
	device, err := d.Open(ctx, term)
	isFile := term.Config.Store.Dialect == session.SQLite
	if err == nil || ctx.Err() != nil || (isFile && d.config.DataDir == "") { // another connector may have the directory
		return device, err
	}
	term.Log.Warn("the device store of a deleted session cannot be opened; it is erased as it is", "error", err.Error())
	broken := &Device{devices: d, term: term, gate: newGate(term.Held), broken: err}
	if !isFile {
		broken.container = d.shared
	}
	return broken, nil
}

// removeDirectory also finds what a session left that has another store by now.
func (d *Device) removeDirectory() error {
	if d.devices.config.DataDir == "" {
		return nil
	}
	data, err := os.OpenRoot(d.devices.config.DataDir)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("open DATA_DIR: %w", err)
	}
	defer data.Close()
	if err := data.RemoveAll(filepath.Join(string(d.term.Tenant), string(d.term.ID))); err != nil {
		return fmt.Errorf("remove the session's directory: %w", err)
	}
	return nil
}
