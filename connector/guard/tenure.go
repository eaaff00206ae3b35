package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"github.com/wafleet/wafleet/shared/session"
)

const (
	// leftoverTimeout is how long a connector whose guard was killed may take to
	// end; the kernel kills it at once where it can.
	leftoverTimeout = 3 * time.Second
	leftoverPoll    = 20 * time.Millisecond
)

// tenure is the file that tells whether a connector lives, and under which id.
// It is locked, and the child inherits the descriptor: the lock is free only
// when the guard and the child are both gone, however they ended. The next guard
// then knows that the id is dead.
type tenure struct{ file *os.File }

// tenureRecord is the content of the file.
type tenureRecord struct {
	Connector session.ConnectorID `json:"connector"`
}

// openTenure locks the file and returns the id of the last holder where it left
// one that it did not give up itself.
func openTenure(path string) (_ *tenure, last session.ConnectorID, err error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return nil, "", err
	}
	file, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600) // #nosec G304 -- the file that the operator names
	if err != nil {
		return nil, "", err
	}
	t := &tenure{file}
	if err := t.lock(); err != nil {
		return nil, "", errors.Join(err, file.Close())
	}
	var record tenureRecord
	content, err := io.ReadAll(io.LimitReader(file, 4096))
	if err == nil {
		_ = json.Unmarshal(content, &record) // a torn write tells nothing
	}
	return t, record.Connector, err
}

func (t *tenure) lock() error {
	timeout := time.NewTimer(leftoverTimeout)
	defer timeout.Stop()
	tick := time.NewTicker(leftoverPoll)
	defer tick.Stop()
	for {
		err := syscall.Flock(int(t.file.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		if !errors.Is(err, syscall.EWOULDBLOCK) {
			return err
		}
		select {
		case <-tick.C:
		case <-timeout.C:
			return fmt.Errorf("a connector of an earlier guard still lives (see who holds %s); end it first", t.file.Name())
		}
	}
}

// hold records the id, or with an empty one that there is none to end.
func (t *tenure) hold(id session.ConnectorID) error {
	content, err := json.Marshal(tenureRecord{Connector: id})
	if err != nil {
		return err
	}
	if err := t.file.Truncate(0); err != nil {
		return err
	}
	_, err = t.file.WriteAt(append(content, '\n'), 0)
	return err
}

func (t *tenure) close() { _ = t.file.Close() }
