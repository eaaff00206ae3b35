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

	"github.com/wafleet/wafleet/infra/local/logs"
	"github.com/wafleet/wafleet/shared/child"
	"github.com/wafleet/wafleet/shared/telemetry"
)

const (
	// connectorGrace is what a connector gets to release its sessions.
	connectorGrace = 8 * time.Second
	// registerTimeout is how long the connectors may take to show up.
	registerTimeout = 15 * time.Second
	// registeredMessage is the log line of a connector that is ready.
	registeredMessage = "connector registered"
)

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
	screen *console

	mu         sync.Mutex // guards what follows
	address    string
	registered chan struct{} // closed at the first registration
	known      bool          // registered is closed
}

// beside finds a program that was built together with this one.
func beside(name string) (string, error) {
	own, err := os.Executable()
	if err != nil {
		return "", err
	}
	if own, err = filepath.EvalSymlinks(own); err != nil {
		return "", err
	}
	path := filepath.Join(filepath.Dir(own), name)
	if _, err := os.Stat(path); err != nil {
		return "", fmt.Errorf("the program %s is missing (make build makes it): %w", name, err)
	}
	return path, nil
}

// fleetConfig is what the members have in common.
type fleetConfig struct {
	members   int
	program   child.Program // the guard, without arguments
	connector string        // what it guards
	tenures   string        // directory; see package guard
	logs      logs.Dir
	screen    *console
}

// guarded is the program of one member.
func (c fleetConfig) guarded(name string) child.Program {
	program := c.program
	program.Args = []string{"-tenure", filepath.Join(c.tenures, name), c.connector}
	return program
}

// startFleet starts the members and keeps them until stop.
func startFleet(ctx, hurry context.Context, config fleetConfig) (*fleet, error) {
	running, cancel := context.WithCancel(context.WithoutCancel(ctx))
	f := &fleet{cancel: cancel}
	for i := range config.members {
		name := "connector-" + strconv.Itoa(i+1)
		log, err := config.logs.Open(name)
		if err != nil {
			f.stop()
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		c := &connector{name: name, log: log, screen: config.screen, registered: make(chan struct{})}
		f.members = append(f.members, c)
		f.kept.Go(func() { c.keep(running, hurry, config.guarded(name)) })
	}
	return f, nil
}

func (c *connector) keep(ctx, hurry context.Context, program child.Program) {
	program.Line, program.Ended = c.line, c.ended
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
		Message string `json:"msg"`
		Address string `json:"address"`
	}
	if json.Unmarshal([]byte(text), &line) != nil || line.Message != registeredMessage {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.address = line.Address
	if !c.known {
		c.known = true
		close(c.registered)
	}
}

// ended is told that the child is gone. Its guard has ended its lease.
func (c *connector) ended(end child.End) {
	c.mu.Lock()
	c.address = ""
	c.mu.Unlock()
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

// connectorEnvironment is everything that a connector gets to know.
func connectorEnvironment(set settings, data *dataDir, databaseURL string, to endpoint) []string {
	return append(append([]string{}, set.Inherited...), append(to.variables(),
		"DATABASE_URL="+databaseURL,
		"DATA_DIR="+data.in("devices"),
		"SECRETS_KEY_FILE="+secretsKeyPath(data),
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
