package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/wafleet/wafleet/infra/local/child"
	"github.com/wafleet/wafleet/infra/local/logs"
	"github.com/wafleet/wafleet/shared/session"
	"github.com/wafleet/wafleet/shared/telemetry"
)

const (
	// connectorGrace is what a connector gets to release its sessions.
	connectorGrace = 8 * time.Second
	// registerTimeout is how long the connectors may take to show up.
	registerTimeout = 15 * time.Second
	// endLeaseTimeout bounds the write that follows a known death.
	endLeaseTimeout = 2 * time.Second
	// registeredMessage is the log line that tells a connector's id.
	registeredMessage = "connector registered"
)

// leases ends the leases of connectors that are known to be gone, and lets the
// others know what they may take over. Without the second a restarted fleet of
// one would find out by its own scan, seconds later.
type leases interface {
	EndLease(ctx context.Context, id session.ConnectorID) error
	EnqueueOrphans(ctx context.Context) (jobs int, err error)
}

// fleet is all connectors of this machine.
type fleet struct {
	members []*connector
	cancel  context.CancelFunc
	kept    sync.WaitGroup
}

// connector is one child and what its log told about it.
type connector struct {
	name   string
	log    *logs.Log
	tenure *tenure
	leases leases
	screen *console

	mu         sync.Mutex // guards what follows
	id         session.ConnectorID
	address    string
	registered chan struct{} // closed at the first registration
	known      bool          // registered is closed
}

// connectorBinary is the one beside this program.
func connectorBinary() (string, error) {
	own, err := os.Executable()
	if err != nil {
		return "", err
	}
	if own, err = filepath.EvalSymlinks(own); err != nil {
		return "", err
	}
	path := filepath.Join(filepath.Dir(own), "connector")
	if _, err := os.Stat(path); err != nil {
		return "", fmt.Errorf("the connector program is missing (make build makes it): %w", err)
	}
	return path, nil
}

// fleetConfig is what the members have in common.
type fleetConfig struct {
	members int
	program child.Program
	dir     string // of the tenures
	logs    logs.Dir
	leases  leases
	screen  *console
}

// startFleet starts the members and keeps them until stop.
func startFleet(ctx, hurry context.Context, config fleetConfig) (*fleet, error) {
	running, cancel := context.WithCancel(context.WithoutCancel(ctx))
	f := &fleet{cancel: cancel}
	for i := range config.members {
		name := "connector-" + strconv.Itoa(i+1)
		c, err := newConnector(ctx, name, config)
		if err != nil {
			f.stop()
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		f.members = append(f.members, c)
		f.kept.Go(func() { c.keep(running, hurry, config.program) })
	}
	return f, nil
}

// newConnector also ends the lease of a predecessor that could not do it.
func newConnector(ctx context.Context, name string, config fleetConfig) (*connector, error) {
	tenure, last, err := openTenure(ctx, filepath.Join(config.dir, name))
	if err != nil {
		return nil, err
	}
	log, err := config.logs.Open(name)
	if err != nil {
		tenure.close()
		return nil, err
	}
	c := &connector{
		name: name, log: log, tenure: tenure, leases: config.leases, screen: config.screen,
		registered: make(chan struct{}), id: last,
	}
	c.endLease()
	return c, nil
}

func (c *connector) keep(ctx, hurry context.Context, program child.Program) {
	program.Line, program.Ended = c.line, c.ended
	program.Files = []*os.File{c.tenure.file}
	if err := child.Keep(ctx, hurry, program); err != nil {
		c.screen.Step("%s: %v", c.name, err)
	}
}

// stop asks every connector at once and returns when all are gone.
func (f *fleet) stop() {
	f.cancel()
	f.kept.Wait()
	for _, c := range f.members {
		_ = c.log.Close() // nothing is buffered
		c.tenure.close()
	}
}

// awaitRegistered returns when every connector has shown up, or says who has not.
func (f *fleet) awaitRegistered(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, registerTimeout)
	defer cancel()
	for _, c := range f.members {
		select {
		case <-c.registered:
		case <-ctx.Done():
			return fmt.Errorf("%s has not registered; its log is %s", c.name, c.log.Path())
		}
	}
	return nil
}

// addresses are where the members serve health and metrics.
func (f *fleet) addresses() []string {
	var list []string
	for _, c := range f.members {
		c.mu.Lock()
		if c.address != "" {
			list = append(list, c.address)
		}
		c.mu.Unlock()
	}
	return list
}

// line takes a line of the child's log.
func (c *connector) line(text string) {
	c.log.Line(text)
	if !strings.Contains(text, registeredMessage) {
		return
	}
	var line struct {
		Message   string              `json:"msg"`
		Connector session.ConnectorID `json:"connector"`
		Address   string              `json:"address"`
	}
	if json.Unmarshal([]byte(text), &line) != nil || line.Message != registeredMessage || line.Connector == "" {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.id, c.address = line.Connector, line.Address
	c.record()
	if !c.known {
		c.known = true
		close(c.registered)
	}
}

// ended is told that the child is gone. An orderly one has ended its own lease;
// ending it once more does no harm.
func (c *connector) ended(end child.End) {
	c.endLease()
	if !end.Asked {
		c.screen.Line(c.screen.Loud(fmt.Sprintf("%s ended by itself (%v); it starts again in %s. Its log: %s",
			c.name, reasonOf(end.Err), end.Pause.Round(10*time.Millisecond), c.log.Path())))
	}
}

func reasonOf(err error) error {
	if err == nil {
		return errors.New("exit status 0")
	}
	return err
}

// endLease frees the sessions of a process that is known to be gone. Where the
// write fails the lease passes by itself.
func (c *connector) endLease() {
	c.mu.Lock()
	id := c.id
	c.mu.Unlock()
	if id == "" {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), endLeaseTimeout)
	defer cancel()
	err := c.leases.EndLease(ctx, id)
	if err == nil {
		_, err = c.leases.EnqueueOrphans(ctx)
	}
	if err != nil {
		c.screen.Step("%s: the sessions it held move only when its lease passes: %v", c.name, err)
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.id, c.address = "", ""
	c.record()
}

// record leaves the id to the next run, in case this one cannot end the lease.
// The caller holds mu.
func (c *connector) record() {
	if err := c.tenure.hold(c.id); err != nil {
		c.screen.Step("%s: its id cannot be kept: %v", c.name, err)
	}
}

// connectorEnvironment is everything that a connector gets to know.
func connectorEnvironment(set settings, data *dataDir, databaseURL string, to endpoint) []string {
	return append(append([]string{}, set.Inherited...), append(to.variables(),
		"DATABASE_URL="+databaseURL,
		"DATA_DIR="+data.in("devices"),
		"SLOTS="+strconv.Itoa(set.Slots),
		"LOG_LEVEL="+connectorLevel(set.LogLevel),
		"LISTEN=127.0.0.1:0",
	)...)
}

// connectorLevel never leaves out what this program reads in the log.
func connectorLevel(asked string) string {
	if level, err := telemetry.ParseLevel(asked); err != nil || level > slog.LevelInfo {
		return slog.LevelInfo.String()
	}
	return asked
}
