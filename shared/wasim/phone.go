package wasim

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"
)

// Errors of Scan.
var (
	ErrBadQR     = errors.New("not a WhatsApp pairing QR code")
	ErrUnknownQR = errors.New("no client shows this QR code (any more)")
)

// qrCode is what a pairing QR holds: REF,NOISE,IDENTITY,ADVSECRET,CLIENTTYPE, the middle three in base64, after an
// address that ends in '#'.
type qrCode struct {
	ref       string
	noise     [32]byte
	identity  [32]byte
	advSecret []byte
}

func parseQR(text string) (qr qrCode, err error) {
	text = strings.TrimSpace(text)
	if i := strings.LastIndexByte(text, '#'); i >= 0 {
		text = text[i+1:]
	}
	parts := strings.Split(text, ",")
	if len(parts) < 4 || parts[0] == "" {
		return qr, fmt.Errorf("%w: %d comma-separated parts", ErrBadQR, len(parts))
	}
	qr.ref = parts[0]
	var keys [3][]byte
	for i, name := range []string{"noise key", "identity key", "adv secret"} {
		keys[i], err = base64.StdEncoding.DecodeString(parts[i+1])
		if err != nil || len(keys[i]) != 32 {
			return qr, fmt.Errorf("%w: the %s is not 32 bytes of base64", ErrBadQR, name)
		}
	}
	qr.noise, qr.identity, qr.advSecret = [32]byte(keys[0]), [32]byte(keys[1]), keys[2]
	return qr, nil
}

// Scan lets the phone with that number (7 to 15 digits; + and spaces are ignored) scan a QR code, that is the text of
// it. It returns the new device's JID once the client has accepted the pairing; the client then reconnects to log in.
func (s *Server) Scan(number, qr string) (jid string, err error) {
	return s.ScanContext(s.ctx, number, qr)
}

// ScanContext is Scan with a context that can give up earlier than PairTimeout.
func (s *Server) ScanContext(ctx context.Context, number, qr string) (jid string, err error) {
	number, err = parseNumber(number)
	if err != nil {
		return "", err
	}
	code, err := parseQR(qr)
	if err != nil {
		return "", err
	}
	s.mu.Lock()
	c := s.refs[code.ref]
	if c == nil || c.reg == nil {
		s.mu.Unlock()
		return "", ErrUnknownQR
	}
	sameKeys := c.reg.noise == code.noise && c.reg.identity == code.identity
	s.mu.Unlock()
	if !sameKeys {
		return "", fmt.Errorf("%w: its keys are not those of the client that got the ref", ErrBadQR)
	}
	return s.pair(ctx, c, number, code.advSecret)
}

func hmacSHA256(key, message []byte) []byte {
	h := hmac.New(sha256.New, key)
	h.Write(message)
	return h.Sum(nil)
}
