package whatsapp

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"sync/atomic"
	"time"

	"go.mau.fi/whatsmeow"
	"go.mau.fi/whatsmeow/proto/waWa6"
	"go.mau.fi/whatsmeow/store"
	"google.golang.org/protobuf/proto"

	"github.com/wafleet/wafleet/connector/event"
	"github.com/wafleet/wafleet/shared/session"
)

const (
	// A version older than this is fetched again.
	versionMaxAge = 24 * time.Hour
	// keepEvery is the pause between two looks at the fleet's version, give or
	// take a fifth, so that of many connectors one is first to find it old.
	keepEvery = time.Hour
	// keepTimeout bounds one such look, with the fetch that it may need.
	keepTimeout = time.Minute
)

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

	current    atomic.Pointer[store.WAVersionContainer]
	refreshing chan struct{} // holds an item while a refresh is under way
}

func newVersions(s VersionStore, client *http.Client, pin string, log *slog.Logger) (*Versions, error) {
	v := &Versions{store: s, client: client, log: log, refreshing: make(chan struct{}, 1)}
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

// Prepare takes the fleet's version, or fetches one where that is missing, old
// or out of reach. It never fails: without an answer the version built into
// whatsmeow is used until WhatsApp refuses it.
func (v *Versions) Prepare(ctx context.Context) {
	if v.pinned {
		return
	}
	err := v.alone(ctx, func() error {
		old, err := v.adopt(ctx)
		if err != nil {
			v.log.Warn("the fleet's client version could not be read", "error", err.Error())
		} else if !old {
			return nil
		}
		return v.fetch(ctx)
	})
	if err != nil {
		v.log.Warn("the client version could not be refreshed", "version", v.Current(), "error", err.Error())
	}
}

// Keep keeps the version fresh until ctx ends: every hour it takes over what
// another connector has stored for the fleet, and fetches where that is old.
// What fails is tried again the next time.
func (v *Versions) Keep(ctx context.Context) {
	if v.pinned {
		return
	}
	timer := time.NewTimer(keepPause())
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
		}
		if err := v.renew(ctx); err != nil && ctx.Err() == nil {
			v.log.Warn("the client version could not be kept fresh", "version", v.Current(), "error", err.Error())
		}
		timer.Reset(keepPause())
	}
}

func keepPause() time.Duration {
	const spread = keepEvery / 5
	return keepEvery - spread + rand.N(2*spread+1) // #nosec G404 -- jitter is no secret
}

// renew takes the fleet's version, and fetches only where that is missing or
// old: a database that is away is no reason for a whole fleet to ask WhatsApp.
func (v *Versions) renew(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, keepTimeout)
	defer cancel()
	return v.alone(ctx, func() error {
		old, err := v.adopt(ctx)
		if err != nil {
			return fmt.Errorf("read the fleet's client version: %w", err)
		}
		if !old {
			return nil
		}
		return v.fetch(ctx)
	})
}

// Refresh finds a newer version, because refused was refused: the fleet's where
// another connector was faster, or else WhatsApp's, which it stores for the
// fleet. Callers that come with a version that is already replaced return at
// once. WhatsApp may still answer with the version that it refused.
//
// Errors: ErrVersionPinned, and event.ErrVersionUnknown where WhatsApp gave no
// answer in time.
func (v *Versions) Refresh(ctx context.Context, refused string) error {
	if v.pinned {
		return ErrVersionPinned
	}
	return v.replace(ctx, refused, func() error { return v.fetch(ctx) })
}

// replace looks at what others have found before it fetches.
func (v *Versions) replace(ctx context.Context, refused string, fetch func() error) error {
	if v.Current() != refused {
		return nil
	}
	return v.alone(ctx, func() error {
		if v.Current() != refused {
			return nil
		}
		if _, err := v.adopt(ctx); err != nil {
			v.log.Warn("the fleet's client version could not be read", "error", err.Error())
		}
		if v.Current() != refused {
			return nil
		}
		return fetch()
	})
}

// RefreshVersion is [Versions.Refresh] for this session's connection: one with a
// proxy asks WhatsApp through that, which cannot change the answer (TLS), but
// withhold it. So it asks without holding up other sessions.
func (d *Device) RefreshVersion(ctx context.Context, refused string) error {
	v := d.devices.versions
	if v.pinned || d.client == d.devices.transports.direct {
		return v.Refresh(ctx, refused)
	}
	wanted := false
	if err := v.replace(ctx, refused, func() error { wanted = true; return nil }); err != nil || !wanted {
		return err
	}
	// net/http goes on with a dial that nobody waits for: closing its socket ends it.
	own := newSockets(d.term.Held)
	defer func() { own.drain(settle); own.close() }()
	latest, err := whatsmeow.GetLatestVersion(own.in(ctx), d.client)
	if err != nil {
		return unknownVersion{err}
	}
	return v.replace(ctx, refused, func() error { v.use(ctx, latest); return nil })
}

// alone does what changes the version, one at a time in the whole process.
func (v *Versions) alone(ctx context.Context, do func() error) error {
	select {
	case v.refreshing <- struct{}{}:
	case <-ctx.Done():
		return unknownVersion{ctx.Err()}
	}
	defer func() { <-v.refreshing }()
	return do()
}

// adopt takes the fleet's version where it is newer than the one in use, and
// reports whether it is missing or old.
func (v *Versions) adopt(ctx context.Context) (old bool, err error) {
	text, age, err := v.store.ClientVersion(ctx)
	if errors.Is(err, session.ErrNotFound) {
		return true, nil
	}
	if err != nil {
		return false, err
	}
	if parsed, err := store.ParseVersion(text); err == nil && v.current.Load().LessThan(parsed) {
		v.current.Store(&parsed)
		v.log.Info("the fleet's client version is used", "version", parsed.String())
	}
	return age >= versionMaxAge, nil
}

// fetch asks WhatsApp for its current version and stores it for the fleet.
func (v *Versions) fetch(ctx context.Context) error {
	latest, err := whatsmeow.GetLatestVersion(ctx, v.client)
	if err != nil {
		return unknownVersion{err}
	}
	v.use(ctx, latest)
	return nil
}

// use takes a version that WhatsApp named, and stores it for the fleet.
func (v *Versions) use(ctx context.Context, latest *store.WAVersionContainer) {
	v.current.Store(latest)
	v.log.Info("client version refreshed", "version", latest.String())
	if err := v.store.SetClientVersion(ctx, latest.String()); err != nil {
		v.log.Warn("the client version could not be stored for the fleet", "error", err.Error())
	}
}

// unknownVersion is event.ErrVersionUnknown with its cause. The text is cut,
// because whatsmeow's holds the whole page where that is not the expected one.
type unknownVersion struct{ cause error }

func (e unknownVersion) Error() string {
	cause := []rune(e.cause.Error())
	if len(cause) > 200 {
		cause = append(cause[:200], '…')
	}
	return event.ErrVersionUnknown.Error() + ": " + string(cause)
}

func (e unknownVersion) Unwrap() []error { return []error{event.ErrVersionUnknown, e.cause} }

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
