package whatsapp

import (
	"cmp"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/lib/pq"
	"go.mau.fi/whatsmeow"
	"go.mau.fi/whatsmeow/proto/waCompanionReg"
	"go.mau.fi/whatsmeow/store"
	"go.mau.fi/whatsmeow/store/sqlstore"
	"google.golang.org/protobuf/proto"
)

// Globals are whatsmeow's process-wide settings. They are not synchronised
// there, so they are set once, before the first client exists.
type Globals struct {
	// RootKey replaces the key that signs WhatsApp's Noise certificates; nil
	// keeps WhatsApp's own.
	RootKey *[32]byte
	// KeepAliveMin and KeepAliveMax bound the pause between pings (whatsmeow:
	// 20 s and 30 s), KeepAliveDeadline the wait for an answer (10 s). Zero
	// keeps whatsmeow's value.
	KeepAliveMin, KeepAliveMax, KeepAliveDeadline time.Duration
}

// deviceName is what the phone lists under linked devices. WhatsApp accepts
// pairing codes only with a known browser's name.
const (
	deviceName  = "wafleet"
	displayName = "Chrome (Linux)"
)

var globals sync.Once

// SetGlobals must be called before the first connection; further calls are an
// error and change nothing.
func SetGlobals(g Globals) error {
	// whatsmeow draws a number of milliseconds between the two, and panics where there is none.
	if low, high := cmp.Or(g.KeepAliveMin, whatsmeow.KeepAliveIntervalMin), cmp.Or(g.KeepAliveMax, whatsmeow.KeepAliveIntervalMax); low.Milliseconds() >= high.Milliseconds() {
		return fmt.Errorf("the pause between keepalives must have a range: %v to %v has none", low, high)
	}
	err := errors.New("whatsmeow's globals are set already")
	globals.Do(func() {
		err = nil
		if g.RootKey != nil {
			whatsmeow.WACertPubKey = *g.RootKey
		}
		if g.KeepAliveMin > 0 {
			whatsmeow.KeepAliveIntervalMin = g.KeepAliveMin
		}
		if g.KeepAliveMax > 0 {
			whatsmeow.KeepAliveIntervalMax = g.KeepAliveMax
		}
		if g.KeepAliveDeadline > 0 {
			whatsmeow.KeepAliveResponseDeadline = g.KeepAliveDeadline
		}
		store.DeviceProps.Os = proto.String(deviceName)
		store.DeviceProps.PlatformType = waCompanionReg.DeviceProps_CHROME.Enum()
		store.DeviceProps.RequireFullSync = proto.Bool(false)
		sqlstore.PostgresArrayWrapper = pq.Array
	})
	return err
}
