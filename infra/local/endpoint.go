package main

import (
	"context"
	"crypto/tls"
	"time"
)

const (
	whatsAppAddress = "web.whatsapp.com:443"
	probeTimeout    = 3 * time.Second
)

// choice is which WhatsApp connectors talk to.
type choice int

const (
	chooseReal choice = iota
	chooseSimulator
	chooseOverride // the endpoint that the environment names
)

// endpoint is the choice and, unless it is the real one, how to get there.
type endpoint struct {
	choice  choice
	because string // for people; empty where the caller asked for it

	dialAddr, caFile, rootKey string
}

// mayNeedSimulator says whether its control port has to be free.
func (s settings) mayNeedSimulator() bool { return !s.overridden() && s.WhatsApp != "real" }

// chooseEndpoint finds out which WhatsApp to use; it takes up to 3 s.
func chooseEndpoint(ctx context.Context, set settings, answers func(context.Context) error) endpoint {
	switch {
	case set.overridden():
		return endpoint{choice: chooseOverride, dialAddr: set.DialAddr, caFile: set.TLSCA, rootKey: set.RootKey}
	case set.WhatsApp == "real":
		return endpoint{choice: chooseReal}
	case set.WhatsApp == "sim":
		return endpoint{choice: chooseSimulator}
	}
	ctx, cancel := context.WithTimeout(ctx, probeTimeout)
	defer cancel()
	if answers(ctx) != nil {
		return endpoint{choice: chooseSimulator, because: whatsAppAddress + " does not answer"}
	}
	return endpoint{choice: chooseReal, because: whatsAppAddress + " answers"}
}

// whatsAppAnswers makes a TLS handshake, certificate check included: a network
// that answers in WhatsApp's place does not count.
func whatsAppAnswers(ctx context.Context) error {
	conn, err := new(tls.Dialer).DialContext(ctx, "tcp", whatsAppAddress)
	if err != nil {
		return err
	}
	return conn.Close()
}

// variables point a connector at the endpoint; none where it is the real one.
func (e endpoint) variables() []string {
	if e.choice == chooseReal {
		return nil
	}
	return []string{
		"WHATSAPP_DIAL_ADDR=" + e.dialAddr,
		"WHATSAPP_TLS_CA=" + e.caFile,
		"WHATSAPP_NOISE_ROOT_KEY=" + e.rootKey,
	}
}
