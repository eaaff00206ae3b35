package main

import (
	"errors"
	"fmt"
	"net"
	"strconv"
	"syscall"
)

// ports are taken before anything is started. Connections wait in the kernel's
// queue until somebody serves them.
type ports struct {
	api     net.Listener
	control net.Listener // nil where no simulator can be needed
}

func openPorts(set settings) (p ports, err error) {
	if p.api, err = openPort("PORT", set.Port); err != nil || !set.mayNeedSimulator() {
		return p, err
	}
	if p.control, err = openPort("SIM_CONTROL_PORT", set.ControlPort); err != nil {
		return p, errors.Join(err, p.api.Close())
	}
	return p, nil
}

func openPort(variable string, port uint16) (net.Listener, error) {
	listener, err := net.Listen("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(int(port))))
	switch {
	case errors.Is(err, syscall.EADDRINUSE):
		return nil, fmt.Errorf("port %d is taken by another program: choose another one with %s", port, variable)
	case err != nil:
		return nil, fmt.Errorf("%s: %w", variable, err)
	}
	return listener, nil
}

// close is for listeners that nobody serves; the servers close their own.
func (p ports) close() {
	for _, listener := range []net.Listener{p.api, p.control} {
		if listener != nil {
			_ = listener.Close()
		}
	}
}
