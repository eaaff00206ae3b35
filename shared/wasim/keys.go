package wasim

import (
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"fmt"
	"strings"

	"go.mau.fi/libsignal/ecc"
	"go.mau.fi/libsignal/logger"
	"go.mau.fi/whatsmeow/util/keys"
)

// libsignal makes its global logger at the first use and without a lock, which is a data race between two servers, or
// between a server and a whatsmeow client. Configuring the default one before anything runs avoids that.
func init() { logger.Configure("all") }

// seed is the secret that every key of the simulator is derived from: the same seed gives the same root key, the same
// CA key and the same phone identities.
type seed [32]byte

// newSeed hashes the Seed knob; an empty knob gives a random seed.
func newSeed(knob string) (seed, error) {
	if knob != "" {
		return sha256.Sum256([]byte("wasim seed:" + knob)), nil
	}
	var s seed
	_, err := rand.Read(s[:])
	return s, err
}

// bytes derives 32 bytes for a purpose.
func (s seed) bytes(purpose string) [32]byte {
	out, err := hkdf.Key(sha256.New, s[:], nil, purpose, 32)
	if err != nil { // only for absurd lengths
		panic(fmt.Sprintf("derive %s: %v", purpose, err))
	}
	return [32]byte(out)
}

// keyPair derives a Curve25519 key pair for a purpose.
func (s seed) keyPair(purpose string) *keys.KeyPair {
	priv := s.bytes(purpose)
	priv[0] &= 248
	priv[31] &= 127
	priv[31] |= 64
	return keys.NewKeyPairFromPrivateKey(priv)
}

// account is the identity key of the simulated phone with that number.
func (s seed) account(number string) *keys.KeyPair {
	return s.keyPair("account " + number)
}

// sign makes an XEdDSA signature, the only kind WhatsApp uses.
func sign(key *keys.KeyPair, message ...[]byte) []byte {
	sig := ecc.CalculateSignature(ecc.NewDjbECPrivateKey(*key.Priv), joined(message...))
	return sig[:]
}

// verified reports whether sig is the XEdDSA signature of message by the key.
func verified(pub [32]byte, sig []byte, message ...[]byte) bool {
	if len(sig) != 64 {
		return false
	}
	return ecc.VerifySignature(ecc.NewDjbECPublicKey(pub), joined(message...), [64]byte(sig))
}

func joined(parts ...[]byte) []byte {
	var out []byte
	for _, p := range parts {
		out = append(out, p...)
	}
	return out
}

// lidOf is the hidden user id of a number: "1" and then the nines' complement of each digit, so that it can be turned
// back by numberOf and is never equal to a number of the same length.
func lidOf(number string) string {
	return "1" + complement(number)
}

// numberOf is the inverse of lidOf; it returns "" for anything that lidOf cannot have made.
func numberOf(lid string) string {
	if len(lid) < 2 || lid[0] != '1' || !digitsOnly(lid) {
		return ""
	}
	return complement(lid[1:])
}

func complement(digits string) string {
	return strings.Map(func(r rune) rune { return '9' - (r - '0') }, digits)
}

func digitsOnly(s string) bool {
	return s != "" && strings.Trim(s, "0123456789") == ""
}
