package wasim

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"time"
)

// certificateLife is how long the CA and the leaf are valid, both ways from now.
const certificateLife = 10 * 365 * 24 * time.Hour

// tlsNames are the host names that the leaf is valid for.
var tlsNames = []string{"web.whatsapp.com", "localhost"}

// ecKey derives a P-256 key. Half of all 256-bit strings would do; the few that are no valid scalar are skipped.
func (s seed) ecKey(purpose string) (*ecdsa.PrivateKey, error) {
	for i := range 8 {
		raw := s.bytes(fmt.Sprintf("%s %d", purpose, i))
		if key, err := ecdsa.ParseRawPrivateKey(elliptic.P256(), raw[:]); err == nil {
			return key, nil
		}
	}
	return nil, fmt.Errorf("derive %s: no valid key", purpose)
}

// newCA makes the certificate authority. Its key depends on the seed alone, so that a client which trusts the CA of an
// earlier run with the same seed trusts this one's leaf, too.
func newCA(s seed) (caPEM []byte, err error) {
	key, err := s.ecKey("tls ca")
	if err != nil {
		return nil, err
	}
	der, err := x509.CreateCertificate(rand.Reader, caTemplate(), caTemplate(), key.Public(), key)
	if err != nil {
		return nil, fmt.Errorf("make CA: %w", err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), nil
}

func caTemplate() *x509.Certificate {
	now := time.Now()
	return &x509.Certificate{
		SerialNumber:          big.NewInt(1),
		Subject:               pkix.Name{CommonName: "wasim CA"},
		NotBefore:             now.Add(-certificateLife),
		NotAfter:              now.Add(certificateLife),
		IsCA:                  true,
		BasicConstraintsValid: true,
		KeyUsage:              x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature,
	}
}

// newTLSConfig makes a leaf for tlsNames and extra hosts, signed by the CA.
func newTLSConfig(s seed, caPEM []byte, extraHosts ...string) (*tls.Config, error) {
	block, _ := pem.Decode(caPEM)
	if block == nil {
		return nil, fmt.Errorf("read CA: no PEM block")
	}
	ca, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		return nil, fmt.Errorf("read CA: %w", err)
	}
	caKey, err := s.ecKey("tls ca")
	if err != nil {
		return nil, err
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("make leaf key: %w", err)
	}
	der, err := x509.CreateCertificate(rand.Reader, leafTemplate(extraHosts), ca, key.Public(), caKey)
	if err != nil {
		return nil, fmt.Errorf("make leaf: %w", err)
	}
	return &tls.Config{
		MinVersion:   tls.VersionTLS12,
		NextProtos:   []string{"http/1.1"},
		Certificates: []tls.Certificate{{Certificate: [][]byte{der, ca.Raw}, PrivateKey: key}},
	}, nil
}

func leafTemplate(extraHosts []string) *x509.Certificate {
	now := time.Now()
	leaf := &x509.Certificate{
		SerialNumber: big.NewInt(now.UnixNano()),
		Subject:      pkix.Name{CommonName: tlsNames[0]},
		NotBefore:    now.Add(-certificateLife),
		NotAfter:     now.Add(certificateLife),
		KeyUsage:     x509.KeyUsageDigitalSignature,
		ExtKeyUsage:  []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		DNSNames:     tlsNames,
		IPAddresses:  []net.IP{net.IPv4(127, 0, 0, 1), net.IPv6loopback},
	}
	for _, host := range extraHosts {
		if ip := net.ParseIP(host); ip != nil {
			leaf.IPAddresses = append(leaf.IPAddresses, ip)
		} else if host != "" {
			leaf.DNSNames = append(leaf.DNSNames, host)
		}
	}
	return leaf
}
