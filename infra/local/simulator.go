package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"

	"github.com/wafleet/wafleet/infra/local/logs"
	"github.com/wafleet/wafleet/shared/telemetry"
	"github.com/wafleet/wafleet/shared/wasim"
)

// simulator is a WhatsApp that lives here and remembers its devices.
type simulator struct {
	server  *wasim.Server
	control *httpServer
	caFile  string
}

func startSimulator(data *dataDir, control net.Listener, log *logs.Log) (*simulator, error) {
	logger := telemetry.New(log, slog.LevelInfo)
	if err := os.MkdirAll(data.in("wasim"), 0o700); err != nil {
		return nil, fmt.Errorf("simulator: %w", err)
	}
	s := &simulator{
		server: &wasim.Server{StateFile: data.in("wasim", "state.json"), Logger: logger},
		caFile: data.in("wasim", "ca.pem"),
	}
	if err := s.server.Start(); err != nil {
		return nil, fmt.Errorf("simulator: %w", err)
	}
	if err := writePrivate(s.caFile, s.server.CAPEM()); err != nil {
		return nil, errors.Join(fmt.Errorf("simulator: %w", err), s.server.Close())
	}
	s.control = serveHTTP(control, s.server.ControlHandler(), logger)
	return s, nil
}

// direct completes an endpoint that chose the simulator.
func (s *simulator) direct(e endpoint) endpoint {
	e.dialAddr, e.caFile, e.rootKey = s.server.DialAddr(), s.caFile, s.server.RootKeyHex()
	return e
}

// devices are the JIDs that it knows.
func (s *simulator) devices() map[string]bool {
	known := map[string]bool{}
	for _, device := range s.server.Devices() {
		known[device.JID] = true
	}
	return known
}

func (s *simulator) stop(hurry context.Context) error {
	s.control.cancel() // its long polls
	s.control.stop(hurry)
	return s.server.Close()
}
