package whatsapp

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/wafleet/wafleet/connector/event"
)

// Forget removes a device from the store: its credentials and everything that
// belongs to it. Connections must be closed before. That there is none is no
// error.
func (d *Device) Forget(ctx context.Context, jid string) error {
	device, err := d.load(ctx, jid)
	if errors.Is(err, event.ErrNoDevice) {
		return nil
	}
	if err != nil {
		return err
	}
	fence(device, d.gate, newOrder())
	// The only table that does not go with the device: what is older than the
	// future is everything.
	if _, err := device.PrivacyTokens.DeleteExpiredPrivacyTokens(ctx, time.Now().AddDate(100, 0, 0)); err != nil {
		return fmt.Errorf("%w: forget the device: %w", event.ErrStore, err)
	}
	if err := device.Delete(ctx); err != nil {
		return fmt.Errorf("%w: forget the device: %w", event.ErrStore, err)
	}
	return nil
}

// Erase removes everything that a session keeps here, its linked device, if it
// has one, and its directory, and closes the store.
func (d *Device) Erase(ctx context.Context, jid string) error {
	if d.file == nil && jid != "" {
		if err := d.Forget(ctx, jid); err != nil {
			return errors.Join(err, d.Close())
		}
	}
	if err := d.Close(); err != nil {
		return err
	}
	return d.removeDirectory()
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
