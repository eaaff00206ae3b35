// Command bare runs whatsmeow clients in a loop, and nothing else: what a figure
// of wafleet is compared with. It is told what to do on its standard input, one
// JSON object a line, and answers in the same way.
//
//	{"do":"pair","n":10,"parallel":4}  links new devices: tells each code, then what is linked
//	{"do":"qr","n":10,"parallel":1}    asks for the codes of new devices, and gives each up
//	{"do":"login","parallel":16}       logs in all linked devices
//	{"do":"goroutines"}                counts them
//
// Environment: DATABASE_URL, or FILES, the directory of one SQLite file per
// device; WHATSAPP_DIAL_ADDR, WHATSAPP_TLS_CA and WHATSAPP_NOISE_ROOT_KEY as of a
// connector, and needed: it never talks to WhatsApp.
package main

import (
	"bufio"
	"context"
	"crypto/tls"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"sync"
	"time"

	_ "github.com/lib/pq"
	"go.mau.fi/whatsmeow"
	"go.mau.fi/whatsmeow/store"
	"go.mau.fi/whatsmeow/store/sqlstore"
	"go.mau.fi/whatsmeow/types/events"
	_ "modernc.org/sqlite"

	"github.com/wafleet/wafleet/connector/whatsapp"
)

// command is a line of input.
type command struct {
	Do          string
	N, Parallel int
}

// answer is a line of output. I counts the devices of a command, from 0.
type answer struct {
	Code       string `json:"code,omitempty"`
	I          int    `json:"i"`
	Up         bool   `json:"up,omitempty"`   // device I is logged in
	Done       bool   `json:"done,omitempty"` // the command is
	Micros     int64  `json:"micros,omitempty"`
	Goroutines int    `json:"goroutines,omitempty"`
	Problem    string `json:"problem,omitempty"`
}

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "bare:", err)
		os.Exit(1)
	}
}

// bare is a process's clients.
type bare struct {
	http   *http.Client
	shared *sqlstore.Container // nil: files
	files  string

	mu      sync.Mutex
	out     *json.Encoder       // guarded by mu
	clients []*whatsmeow.Client // guarded by mu
}

func run() error {
	b := &bare{out: json.NewEncoder(os.Stdout), files: os.Getenv("FILES")}
	var err error
	if b.http, err = way(); err != nil {
		return err
	}
	if b.files == "" {
		db, err := sql.Open("postgres", os.Getenv("DATABASE_URL"))
		if err != nil {
			return err
		}
		db.SetMaxOpenConns(8)
		db.SetMaxIdleConns(8)
		b.shared = sqlstore.NewWithDB(db, "postgres", nil)
		if err := b.shared.Upgrade(context.Background()); err != nil {
			return err
		}
	}
	lines := bufio.NewScanner(os.Stdin)
	b.tell(answer{Done: true})
	for lines.Scan() {
		var c command
		if err := json.Unmarshal(lines.Bytes(), &c); err != nil {
			return err
		}
		if err := b.do(c); err != nil {
			b.tell(answer{Problem: err.Error()})
		}
	}
	return lines.Err()
}

func (b *bare) do(c command) error {
	began := time.Now()
	var err error
	switch c.Do {
	case "pair":
		err = inParallel(c.N, c.Parallel, b.pair)
	case "qr":
		err = inParallel(c.N, c.Parallel, b.qr)
	case "login":
		err = b.login(c.Parallel)
	case "goroutines":
		b.tell(answer{Done: true, Goroutines: runtime.NumGoroutine()})
		return nil
	default:
		return fmt.Errorf("there is no %q", c.Do)
	}
	if err == nil {
		b.tell(answer{Done: true, Micros: time.Since(began).Microseconds()})
	}
	return err
}

func (b *bare) tell(a answer) {
	b.mu.Lock()
	defer b.mu.Unlock()
	_ = b.out.Encode(a)
}

// pair links a new device; whatsmeow connects again by itself.
func (b *bare) pair(i int) error {
	device, err := b.newDevice(i)
	if err != nil {
		return err
	}
	began := time.Now()
	client, err := b.connect(device, func(e any, end func(error)) {
		switch e := e.(type) {
		case *events.QR:
			b.tell(answer{I: i, Code: e.Codes[0], Micros: time.Since(began).Microseconds()})
		case *events.PairError:
			end(e.Error)
		case *events.Connected:
			b.tell(answer{I: i, Up: true})
			end(nil)
		}
	})
	b.keep(client)
	return err
}

// newDevice is a device that nothing knows of, in a place of its own.
func (b *bare) newDevice(i int) (*store.Device, error) {
	container, err := b.container(fmt.Sprintf("%d-%d.db", time.Now().UnixNano(), i))
	if err != nil {
		return nil, err
	}
	return container.NewDevice(), nil
}

// qr asks for the code of a new device.
func (b *bare) qr(i int) error {
	device, err := b.newDevice(i)
	if err != nil {
		return err
	}
	began := time.Now()
	client, err := b.connect(device, func(e any, end func(error)) {
		if e, ok := e.(*events.QR); ok {
			b.tell(answer{I: i, Code: e.Codes[0], Micros: time.Since(began).Microseconds()})
			end(nil)
		}
	})
	client.Disconnect()
	return err
}

func (b *bare) keep(client *whatsmeow.Client) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.clients = append(b.clients, client)
}

// login connects every linked device.
func (b *bare) login(parallel int) error {
	devices, err := b.devices()
	if err != nil {
		return err
	}
	return inParallel(len(devices), parallel, func(i int) error {
		client, err := b.connect(devices[i], func(e any, end func(error)) {
			if _, ok := e.(*events.Connected); ok {
				end(nil)
			}
		})
		b.keep(client)
		return err
	})
}

// patience bounds every wait for a client.
const patience = 2 * time.Minute

// connect runs a client until hear ends the wait.
func (b *bare) connect(device *store.Device, hear func(event any, end func(error))) (*whatsmeow.Client, error) {
	client := whatsmeow.NewClient(device, nil)
	client.SetWebsocketHTTPClient(b.http)
	client.SetPreLoginHTTPClient(b.http)
	client.SetMediaHTTPClient(b.http)
	ended := make(chan error, 1)
	end := func(err error) {
		select {
		case ended <- err:
		default: // it is up already
		}
	}
	client.AddEventHandler(func(e any) { hear(e, end) })
	if err := client.Connect(); err != nil {
		return client, err
	}
	select {
	case err := <-ended:
		return client, err
	case <-time.After(patience):
		return client, errors.New("a client did not come up")
	}
}

func (b *bare) devices() ([]*store.Device, error) {
	if b.shared != nil {
		return b.shared.GetAllDevices(context.Background())
	}
	paths, err := filepath.Glob(filepath.Join(b.files, "*.db"))
	if err != nil {
		return nil, err
	}
	var all []*store.Device
	for _, path := range paths {
		container, err := b.container(filepath.Base(path))
		if err != nil {
			return nil, err
		}
		device, err := container.GetFirstDevice(context.Background())
		if err != nil {
			return nil, err
		}
		all = append(all, device)
	}
	return all, nil
}

// container is where a device is kept: one database for all, or a file of its own
// with the settings of a connector.
func (b *bare) container(file string) (*sqlstore.Container, error) {
	if b.shared != nil {
		return b.shared, nil
	}
	const pragmas = "?_pragma=locking_mode(EXCLUSIVE)&_pragma=journal_mode(WAL)&_pragma=synchronous(NORMAL)&_pragma=foreign_keys(1)&_pragma=busy_timeout(2000)"
	db, err := sql.Open("sqlite", "file:"+filepath.Join(b.files, file)+pragmas)
	if err != nil {
		return nil, err
	}
	db.SetMaxOpenConns(1)
	container := sqlstore.NewWithDB(db, "sqlite3", nil)
	return container, container.Upgrade(context.Background())
}

// inParallel does something n times, so many at once, and returns the first error.
func inParallel(n, parallel int, do func(i int) error) error {
	turns := make(chan struct{}, max(1, parallel))
	failed := make(chan error, n)
	var wg sync.WaitGroup
	for i := range n {
		turns <- struct{}{}
		wg.Go(func() {
			defer func() { <-turns }()
			if err := do(i); err != nil {
				failed <- err
			}
		})
	}
	wg.Wait()
	close(failed)
	return <-failed
}

// way is one transport for all clients, to the simulator only.
func way() (*http.Client, error) {
	endpoint, err := whatsapp.ParseEndpoint(os.Getenv("WHATSAPP_DIAL_ADDR"), os.Getenv("WHATSAPP_TLS_CA"), os.Getenv("WHATSAPP_NOISE_ROOT_KEY"))
	if err != nil {
		return nil, err
	}
	if !endpoint.Overridden() {
		return nil, errors.New("WHATSAPP_DIAL_ADDR, WHATSAPP_TLS_CA and WHATSAPP_NOISE_ROOT_KEY must say where the simulator is")
	}
	whatsmeow.WACertPubKey = *endpoint.RootKey
	var dialer net.Dialer
	return &http.Client{Transport: &http.Transport{
		DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
			return dialer.DialContext(ctx, network, endpoint.DialAddr)
		},
		TLSClientConfig: &tls.Config{RootCAs: endpoint.Roots, MinVersion: tls.VersionTLS12},
	}}, nil
}
