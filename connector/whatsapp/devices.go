package whatsapp

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"sync"

	"go.mau.fi/util/dbutil"
	"go.mau.fi/whatsmeow/store/sqlstore"
	"go.mau.fi/whatsmeow/store/sqlstore/upgrades"
	_ "modernc.org/sqlite" // pure Go, so that every binary stays static

	"github.com/wafleet/wafleet/shared/session"
)

// Config of a process's way to WhatsApp.
type Config struct {
	Endpoint Endpoint
	// Version pins the WhatsApp client version; empty refreshes it.
	Version string
	// DataDir holds the sqlite3 device stores; empty refuses them.
	DataDir string
	// DB is the fleet's database for the postgres device stores. It is shared
	// by all sessions and must be capped.
	DB *sql.DB
	// Connected is called after every connection that was made; nil: nobody asks.
	Connected func()
}

// Devices opens device stores. One serves a whole process.
type Devices struct {
	config     Config
	transports *transports
	versions   *Versions
	log        *slog.Logger
	shared     deviceStore
	seams      seams
	keys       keyring

	// leftovers are calls into whatsmeow that outlive their connection: it
	// waits up to 20 s for a handshake, whatever happens to the socket.
	leftovers sync.WaitGroup
}

// New prepares the way to WhatsApp; it connects to nothing.
func New(config Config, versions VersionStore, log *slog.Logger) (*Devices, error) {
	d := &Devices{config: config, transports: newTransports(config.Endpoint), log: log}
	var err error
	if d.seams, err = newSeams(); err != nil {
		return nil, err
	}
	if d.versions, err = newVersions(versions, d.transports.direct, config.Version, log); err != nil {
		return nil, err
	}
	d.shared, err = newDeviceStore(config.DB, "postgres", log)
	return d, err
}

// Upgrade brings whatsmeow's tables in the fleet's database up to date. Only
// one process may run it at a time.
func (d *Devices) Upgrade(ctx context.Context) error {
	if err := d.shared.Upgrade(ctx); err != nil {
		return fmt.Errorf("upgrade the device tables: %w", err)
	}
	return nil
}

// Versions is the client version that this process presents.
func (d *Devices) Versions() *Versions { return d.versions }

// Wait returns when no call into whatsmeow is left.
func (d *Devices) Wait() { d.leftovers.Wait() }

// Term is one holding of one session, as the device store needs it.
type Term struct {
	ID     session.ID
	Tenant session.TenantID
	Config session.Config
	Held   Fence
	Log    *slog.Logger
}

// Device is a session's device store, open for one term.
type Device struct {
	devices   *Devices
	term      Term
	gate      *gate
	client    *http.Client
	container deviceStore
	file      *sql.DB // nil for the shared database
	broken    error   // why the store cannot be used but to be erased; see OpenToErase
}

// deviceStore is whatsmeow's store of devices, and the database below it.
type deviceStore struct {
	*sqlstore.Container
	db *dbutil.Database
}

func newDeviceStore(db *sql.DB, dialect string, log *slog.Logger) (deviceStore, error) {
	wrapped, err := dbutil.NewWithDB(db, dialect)
	if err != nil {
		return deviceStore{}, fmt.Errorf("open the device store: %w", err)
	}
	wrapped.UpgradeTable, wrapped.VersionTable = upgrades.Table, "whatsmeow_version"
	return deviceStore{sqlstore.NewWithWrappedDB(wrapped, logger{log: log, module: "Store"}), wrapped}, nil
}

// Open opens the store that the session's config names. Errors are the
// session's, not the process's.
func (d *Devices) Open(ctx context.Context, term Term) (*Device, error) {
	device := &Device{devices: d, term: term, gate: newGate(term.Held), client: d.transports.clientFor(term.Config.Proxy)}
	switch term.Config.Store.Dialect {
	case session.Postgres:
		device.container = d.shared
		return device, nil
	case session.SQLite:
		return device, device.openFile(ctx)
	}
	return nil, fmt.Errorf("config.store.dialect %q is unknown", term.Config.Store.Dialect)
}

// filePragmas: the claim guarantees one opener, so the lock is exclusive, which
// also keeps the write-ahead log's index out of shared memory; a network file
// system has none. Who still has the lock after the timeout does not let go by
// itself: the lease that it was taken under has passed before the claim.
var filePragmas = url.Values{"_pragma": {
	"locking_mode(EXCLUSIVE)", "journal_mode(WAL)", "synchronous(NORMAL)", "foreign_keys(1)", "busy_timeout(2000)",
}}.Encode()

func fileURL(path string) string {
	return "file:" + (&url.URL{Path: path}).EscapedPath() + "?" + filePragmas
}

func (d *Device) openFile(ctx context.Context) error {
	path, err := d.filePath()
	if err != nil {
		return err
	}
	removeLeftovers(filepath.Dir(path))
	err = d.openAt(ctx, path)
	if !isLocked(err) {
		return err
	}
	if path, err = d.takeOver(ctx, path); err != nil {
		return err
	}
	return d.openAt(ctx, path)
}

func (d *Device) openAt(ctx context.Context, path string) error {
	var err error
	if d.file, err = sql.Open("sqlite", fileURL(path)); err != nil {
		return fmt.Errorf("open the device store: %w", err)
	}
	d.file.SetMaxOpenConns(1)
	if d.container, err = newDeviceStore(d.file, "sqlite3", d.term.Log); err == nil {
		err = d.container.Upgrade(ctx)
	}
	if err != nil {
		d.file.Close()
		return fmt.Errorf("open the device store: %w", err)
	}
	return nil
}

// filePath makes the session's own directory and returns the file in it. The
// directory is opened as a root, so no symbolic link in the path can lead out.
func (d *Device) filePath() (string, error) {
	if d.devices.config.DataDir == "" {
		return "", errors.New("this connector has no DATA_DIR, which sqlite3 device stores need")
	}
	relative, err := session.DataPath(d.term.Config.Store.Address)
	if err != nil {
		return "", fmt.Errorf("config.store.address %w", err)
	}
	relative = filepath.FromSlash(relative)
	own := filepath.Join(string(d.term.Tenant), string(d.term.ID))
	if err := os.MkdirAll(d.devices.config.DataDir, 0o700); err != nil {
		return "", fmt.Errorf("make DATA_DIR: %w", err)
	}
	data, err := os.OpenRoot(d.devices.config.DataDir)
	if err != nil {
		return "", fmt.Errorf("open DATA_DIR: %w", err)
	}
	defer data.Close()
	if err := data.MkdirAll(own, 0o700); err != nil {
		return "", fmt.Errorf("make the session's directory: %w", err)
	}
	root, err := data.OpenRoot(own)
	if err != nil {
		return "", fmt.Errorf("open the session's directory: %w", err)
	}
	defer root.Close()
	if err := root.MkdirAll(filepath.Dir(relative), 0o700); err != nil {
		return "", fmt.Errorf("make the directory of config.store.address: %w", err)
	}
	relative = newest(root.FS(), relative)
	// Opening through the root proves that the file is inside; a link that
	// leads out is refused here.
	file, err := root.OpenFile(relative, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return "", fmt.Errorf("open the file of config.store.address: %w", err)
	}
	defer file.Close()
	return filepath.Join(d.devices.config.DataDir, own, relative), nil
}

// Close gives the store back. Connections must be closed before. It waits for
// the writes that have begun and refuses more, so that the next holder finds the
// last one; those that do not end within ten seconds are an error, and may come
// after it.
func (d *Device) Close() error {
	err := d.gate.close()
	if err != nil {
		d.term.Log.Error("the term ends over writes that are still under way", "error", err.Error())
	}
	if d.file != nil {
		err = errors.Join(err, d.file.Close())
	}
	return err
}
