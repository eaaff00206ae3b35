package main

import (
	"time"

	"github.com/wafleet/wafleet/shared/session"
	"github.com/wafleet/wafleet/shared/store"
)

// The connections of a connector, of DATABASE_MAX_CONNS; the device stores get
// what is left.
const (
	// beatConns are for heartbeats alone: a process whose every other connection
	// waits for a lock is alive and keeps its sessions.
	beatConns = 1
	// controlConns are for claims and reports. They are apart from those of the
	// device stores, so that a burst of pairings cannot hold these up.
	controlConns = 3
	// listenConns is the one that hints come by. It is in no pool.
	listenConns = 1

	minConns = beatConns + controlConns + listenConns + 1
)

// controlAnswer is how long Postgres may be silent on a heartbeat, claim or
// report. No statement of these waits for another's lock for long.
const controlAnswer = 5 * time.Second

// pools are one store three times.
type pools struct {
	beats   *store.Store
	control *store.Store
	shared  *store.Store // of the device stores
}

// openPools opens none of their connections yet. owner is whose the connections
// of the device stores are, held whether they may be written to.
func openPools(c config, owner func() session.ConnectorID, held func() error) (p pools, err error) {
	for _, pool := range []struct {
		to      **store.Store
		options store.Options
	}{
		{&p.beats, store.Options{MaxOpen: beatConns, Answer: controlAnswer, ApplicationName: "wafleet-heartbeat", Prepare: true}},
		{&p.control, store.Options{MaxOpen: controlConns, Answer: controlAnswer, ApplicationName: "wafleet-connector", Prepare: true}},
		{&p.shared, store.Options{MaxOpen: c.DatabaseMax - minConns + 1, ApplicationName: "wafleet-devices", Owner: owner, Held: held}},
	} {
		if *pool.to, err = c.Database.Open(pool.options); err != nil {
			p.close()
			return p, err
		}
	}
	return p, nil
}

func (p pools) close() {
	for _, s := range []*store.Store{p.shared, p.control, p.beats} {
		if s != nil {
			s.Close()
		}
	}
}
