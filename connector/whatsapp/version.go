package whatsapp

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"go.mau.fi/whatsmeow"
	"go.mau.fi/whatsmeow/proto/waWa6"
	"go.mau.fi/whatsmeow/store"
	"google.golang.org/protobuf/proto"

	"github.com/wafleet/wafleet/shared/session"
)

// A version older than this is fetched again at boot.
const versionMaxAge = 24 * time.Hour

// ErrVersionPinned says that WHATSAPP_VERSION forbids a refresh.
var ErrVersionPinned = errors.New("WHATSAPP_VERSION is set, so the client version is not refreshed")

// VersionStore keeps the version for the whole fleet.
type VersionStore interface {
	ClientVersion(ctx context.Context) (version string, age time.Duration, err error)
	SetClientVersion(ctx context.Context, version string) error
}

// Versions is the WhatsApp client version that every connection presents. It is
// put into each client's payload rather than into whatsmeow's global, which
// connecting clients read without a lock.
type Versions struct {
	store  VersionStore
	client *http.Client
	log    *slog.Logger
	pinned bool

	current   atomic.Pointer[store.WAVersionContainer]
	refreshMu sync.Mutex // one refresh at a time; held across I/O on purpose
}

func newVersions(s VersionStore, client *http.Client, pin string, log *slog.Logger) (*Versions, error) {
	v := &Versions{store: s, client: client, log: log}
	builtIn := store.GetWAVersion()
	v.current.Store(&builtIn)
	if pin == "" {
		return v, nil
	}
	version, err := store.ParseVersion(pin)
	if err != nil || version.IsZero() {
		return nil, fmt.Errorf("WHATSAPP_VERSION must be three numbers such as %s", builtIn)
	}
	v.pinned = true
	v.current.Store(&version)
	return v, nil
}

// Current returns the version in use, such as "2.3000.1045649367".
func (v *Versions) Current() string { return v.current.Load().String() }

// Prepare takes the fleet's version, or fetches one where that is missing or
// old. It never fails: without an answer the version built into whatsmeow is
// used until WhatsApp refuses it.
func (v *Versions) Prepare(ctx context.Context) {
	if v.pinned {
		return
	}
	text, age, err := v.store.ClientVersion(ctx)
	if err == nil {
		v.use(text)
		if age < versionMaxAge {
			return
		}
	} else if !errors.Is(err, session.ErrNotFound) {
		v.log.Warn("the fleet's client version could not be read", "error", err.Error())
	}
	if err := v.Refresh(ctx, v.Current()); err != nil {
		v.log.Warn("the client version could not be refreshed", "version", v.Current(), "error", err.Error())
	}
}

// use adopts a stored version unless it is older than the built-in one.
func (v *Versions) use(text string) {
	if parsed, err := store.ParseVersion(text); err == nil && !parsed.LessThan(store.GetWAVersion()) {
		v.current.Store(&parsed)
	}
}

// Refresh asks WhatsApp for its current version, because refused was refused
// or is old, and stores it for the fleet. Callers that come with a version that
// is already replaced return at once.
func (v *Versions) Refresh(ctx context.Context, refused string) error {
	if v.pinned {
		return ErrVersionPinned
	}
	v.refreshMu.Lock()
	defer v.refreshMu.Unlock()
	if v.Current() != refused {
		return nil
	}
	latest, err := whatsmeow.GetLatestVersion(ctx, v.client)
	if err != nil {
		return fmt.Errorf("ask for the current client version: %w", err)
	}
	v.current.Store(latest)
	v.log.Info("client version refreshed", "version", latest.String())
	if err := v.store.SetClientVersion(ctx, latest.String()); err != nil {
		v.log.Warn("the client version could not be stored for the fleet", "error", err.Error())
	}
	return nil
}

// payload is what a client says about itself at login.
func (v *Versions) payload(device *store.Device) *waWa6.ClientPayload {
	version := *v.current.Load()
	payload := device.GetClientPayload()
	payload.UserAgent = proto.Clone(payload.UserAgent).(*waWa6.ClientPayload_UserAgent)
	payload.UserAgent.AppVersion = version.ProtoAppVersion()
	if payload.DevicePairingData != nil {
		hash := version.Hash()
		payload.DevicePairingData.BuildHash = hash[:]
	}
	return payload
}
