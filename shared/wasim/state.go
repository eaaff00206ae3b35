package wasim

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"time"
)

// stateVersion is the format of the state file.
const stateVersion = 1

// state is the content of the state file.
type state struct {
	Version   int               `json:"version"`
	Addr      string            `json:"addr"` // where the server last listened
	Seed      string            `json:"seed"` // hex; from it follow the root key and the CA's key
	CAPEM     string            `json:"caPem"`
	LastIndex map[string]uint16 `json:"lastIndex"`
	Devices   []deviceState     `json:"devices"`
}

// deviceState is a device in the state file. Byte slices are base64.
type deviceState struct {
	Number   string    `json:"number"`
	Index    uint16    `json:"index"`
	Noise    []byte    `json:"noise"`
	Identity []byte    `json:"identity"`
	RegID    []byte    `json:"regId"`
	SkeyID   []byte    `json:"skeyId"`
	SkeyVal  []byte    `json:"skeyVal"`
	SkeySig  []byte    `json:"skeySig"`
	PreKeys  int       `json:"preKeys"`
	Paired   time.Time `json:"paired"`
	Platform string    `json:"platform,omitempty"`
	Shared   bool      `json:"shared,omitempty"` // the device has its phone's app state key
}

// loadState reads the state file, or makes what a first run needs. Called by prepare, which holds Server.mu.
func (s *Server) loadState() error {
	var st state
	if s.StateFile != "" {
		raw, err := os.ReadFile(s.StateFile)
		switch {
		case errors.Is(err, fs.ErrNotExist):
		case err != nil:
			return fmt.Errorf("read state: %w", err)
		default:
			if err := json.Unmarshal(raw, &st); err != nil {
				return fmt.Errorf("read state %s: %w", s.StateFile, err)
			}
			if st.Version != stateVersion {
				return fmt.Errorf("read state %s: version %d, want %d", s.StateFile, st.Version, stateVersion)
			}
			return s.adopt(st)
		}
	}
	var err error
	if s.seed, err = newSeed(s.Seed); err != nil {
		return err
	}
	s.caPEM, err = newCA(s.seed)
	return err
}

// adopt takes over what a state file holds.
func (s *Server) adopt(st state) error {
	raw, err := hex.DecodeString(st.Seed)
	if err != nil || len(raw) != len(s.seed) {
		return fmt.Errorf("read state %s: bad seed", s.StateFile)
	}
	s.seed = seed(raw)
	if s.Seed != "" {
		if asked, _ := newSeed(s.Seed); asked != s.seed {
			return fmt.Errorf("state %s was made with another seed", s.StateFile)
		}
	}
	if block, _ := pem.Decode([]byte(st.CAPEM)); block == nil {
		return fmt.Errorf("read state %s: no CA certificate", s.StateFile)
	}
	s.caPEM = []byte(st.CAPEM)
	s.saver.addr = st.Addr
	for number, index := range st.LastIndex {
		s.lastIndex[number] = index
	}
	for i, ds := range st.Devices {
		d, err := ds.device()
		if err != nil {
			return fmt.Errorf("read state %s: device %d: %w", s.StateFile, i, err)
		}
		s.devices[d.noise] = d
	}
	return nil
}

func (ds deviceState) device() (*device, error) {
	number, err := parseNumber(ds.Number)
	if err != nil {
		return nil, err
	}
	if len(ds.Noise) != 32 || len(ds.Identity) != 32 || ds.Index == 0 || ds.Index > maxDevice {
		return nil, errors.New("bad keys or number")
	}
	return &device{
		number: number, index: ds.Index, noise: [32]byte(ds.Noise), identity: [32]byte(ds.Identity), regID: ds.RegID,
		signed:    preKey{id: ds.SkeyID, value: ds.SkeyVal, signature: ds.SkeySig},
		preKeyNum: ds.PreKeys, paired: ds.Paired, platform: ds.Platform, shared: ds.Shared,
	}, nil
}

func (s *Server) snapshot() state {
	s.mu.Lock()
	defer s.mu.Unlock()
	st := state{
		Version: stateVersion, Addr: s.DialAddr(), Seed: hex.EncodeToString(s.seed[:]), CAPEM: string(s.caPEM),
		LastIndex: make(map[string]uint16, len(s.lastIndex)), Devices: []deviceState{},
	}
	for number, index := range s.lastIndex {
		st.LastIndex[number] = index
	}
	for _, d := range s.devicesLocked(selector{index: -1}) {
		st.Devices = append(st.Devices, deviceState{
			Number: d.number, Index: d.index, Noise: d.noise[:], Identity: d.identity[:], RegID: d.regID,
			SkeyID: d.signed.id, SkeyVal: d.signed.value, SkeySig: d.signed.signature,
			PreKeys: d.preKeyNum, Paired: d.paired, Platform: d.platform, Shared: d.shared,
		})
	}
	return st
}

// saver writes the state file: one write covers every change made before it started.
type saver struct {
	srv  *Server
	addr string // where the server listened when the file was written
	wake chan struct{}

	mu      sync.Mutex
	wanted  uint64        // changes so far
	written uint64        // changes that are on disk, or failed to get there
	err     error         // of the newest write
	done    chan struct{} // closed at the next end of a write
}

func (v *saver) init(s *Server) {
	v.srv, v.wake, v.done = s, make(chan struct{}, 1), make(chan struct{})
}

// later asks for a write and does not wait for it.
func (v *saver) later() (change uint64) {
	if v.srv.StateFile == "" {
		return 0
	}
	v.mu.Lock()
	v.wanted++
	change = v.wanted
	v.mu.Unlock()
	select {
	case v.wake <- struct{}{}:
	default:
	}
	return change
}

// run writes until ctx ends.
func (v *saver) run(ctx context.Context) {
	for {
		select {
		case <-v.wake:
		case <-ctx.Done():
			return
		}
		v.mu.Lock()
		upTo := v.wanted
		v.mu.Unlock()
		err := v.write()
		if err != nil {
			v.srv.Logger.Error("state not written", "err", err)
		}
		v.mu.Lock()
		v.written, v.err = upTo, err
		close(v.done)
		v.done = make(chan struct{})
		v.mu.Unlock()
	}
}

// persist returns when the state as it is now is on disk. Without a StateFile it does nothing.
func (s *Server) persist(ctx context.Context) error {
	if s.StateFile == "" {
		return nil
	}
	change := s.saver.later()
	for {
		s.saver.mu.Lock()
		written, err, done := s.saver.written, s.saver.err, s.saver.done
		s.saver.mu.Unlock()
		if written >= change {
			return err
		}
		select {
		case <-done:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// write replaces the file in one step: a reader, or a crash, sees the old state or the new one.
func (v *saver) write() (err error) {
	raw, err := json.Marshal(v.srv.snapshot())
	if err != nil {
		return fmt.Errorf("write state: %w", err)
	}
	path := v.srv.StateFile
	f, err := os.CreateTemp(filepath.Dir(path), filepath.Base(path)+".*.tmp") // mode 0600
	if err != nil {
		return fmt.Errorf("write state: %w", err)
	}
	defer func() {
		if err != nil {
			_ = os.Remove(f.Name())
		}
	}()
	_, err = f.Write(append(raw, '\n'))
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return fmt.Errorf("write state: %w", err)
	}
	if err = os.Rename(f.Name(), path); err != nil {
		return fmt.Errorf("write state: %w", err)
	}
	return nil
}
