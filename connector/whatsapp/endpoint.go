package whatsapp

import (
	"crypto/x509"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"os"
)

// realHost is what whatsmeow dials; an override answers for it.
const realHost = "web.whatsapp.com:443"

// Endpoint is another place to dial than WhatsApp, for tests, staging and
// working without a phone. The zero value is WhatsApp itself.
type Endpoint struct {
	DialAddr string         // host:port dialed instead of web.whatsapp.com:443
	Roots    *x509.CertPool // who may sign its certificate
	RootKey  *[32]byte      // who signs its Noise certificates
}

// Overridden reports whether WhatsApp is replaced.
func (e Endpoint) Overridden() bool { return e.DialAddr != "" }

// ParseEndpoint reads WHATSAPP_DIAL_ADDR, WHATSAPP_TLS_CA (a PEM file) and
// WHATSAPP_NOISE_ROOT_KEY (64 hexadecimal digits): all three or none.
func ParseEndpoint(dialAddr, caFile, rootKeyHex string) (Endpoint, error) {
	if dialAddr == "" && caFile == "" && rootKeyHex == "" {
		return Endpoint{}, nil
	}
	if dialAddr == "" || caFile == "" || rootKeyHex == "" {
		return Endpoint{}, errors.New("WHATSAPP_DIAL_ADDR, WHATSAPP_TLS_CA and WHATSAPP_NOISE_ROOT_KEY must be set together or not at all")
	}
	e := Endpoint{DialAddr: dialAddr}
	var problems []error
	if _, _, err := net.SplitHostPort(dialAddr); err != nil {
		problems = append(problems, errors.New("WHATSAPP_DIAL_ADDR must be host:port"))
	}
	if pem, err := os.ReadFile(caFile); err != nil { // #nosec G304 -- the file that the operator names
		problems = append(problems, fmt.Errorf("WHATSAPP_TLS_CA: %w", err))
	} else if e.Roots = x509.NewCertPool(); !e.Roots.AppendCertsFromPEM(pem) {
		problems = append(problems, errors.New("WHATSAPP_TLS_CA must be a PEM file with a certificate"))
	}
	if key, err := hex.DecodeString(rootKeyHex); err != nil || len(key) != 32 {
		problems = append(problems, errors.New("WHATSAPP_NOISE_ROOT_KEY must be 64 hexadecimal digits"))
	} else {
		e.RootKey = (*[32]byte)(key)
	}
	return e, errors.Join(problems...)
}
