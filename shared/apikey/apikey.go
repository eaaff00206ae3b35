// Package apikey knows what an API key looks like and how it is recognised.
//
// A key that wafleet makes is "wf_<id>_<secret>": the id finds the row, the
// secret has 256 random bits. Only a SHA-256 of the whole text is stored. A slow
// password hash would buy nothing against a random secret of that size and would
// cost milliseconds on every request.
//
// An operator may bring a key of another form (API_KEY=k on a laptop). It works
// the same, with an id derived from the text. Such a key is only as strong as
// the text is long.
//
// The package is pure: storage, caching and revocation are elsewhere.
package apikey

import (
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base32"
	"encoding/hex"
	"errors"
	"log/slog"
	"regexp"
	"strings"
)

const (
	idBytes     = 10 // 16 characters; only has to be unique
	secretBytes = 32 // 52 characters, 256 bits

	// maxLength is in bytes, far above the 72 of a key made here.
	maxLength = 256
	redacted  = "wf_[redacted]"

	// DerivedPrefix begins the id of every key that was not made here.
	DerivedPrefix = "own-"

	// minDerived is what a key of another form needs in bytes to be more than a
	// convenience on somebody's own machine.
	minDerived = 16
)

// ErrMalformed: the text cannot be a key in any form.
var ErrMalformed = errors.New("an API key is 1 to 256 printable ASCII characters without spaces and commas")

var (
	encoding    = base32.NewEncoding("abcdefghijklmnopqrstuvwxyz234567").WithPadding(base32.NoPadding)
	ownPattern  = regexp.MustCompile(`^wf_([a-z2-7]{16})_[a-z2-7]{52}$`)
	idPattern   = regexp.MustCompile(`^([a-z2-7]{16}|` + DerivedPrefix + `[0-9a-f]{16})$`)
	textPattern = regexp.MustCompile(`^[!-+\--~]+$`)
)

// Hash is what is stored of a key.
type Hash = [sha256.Size]byte

// Key is a key in the clear. It prints redacted in every way; only Reveal gives
// the text.
type Key struct{ id, text string }

// New returns a fresh random key.
func New() Key {
	id := randomText(idBytes)
	return Key{id: id, text: "wf_" + id + "_" + randomText(secretBytes)}
}

// randomText never fails: since Go 1.24 crypto/rand ends the process instead.
func randomText(bytes int) string {
	raw := make([]byte, bytes)
	rand.Read(raw)
	return encoding.EncodeToString(raw)
}

// ID finds the key's row. It is no secret.
func (k Key) ID() string { return k.id }

// Hash is what to store.
func (k Key) Hash() Hash { return sha256.Sum256([]byte(k.text)) }

// Reveal returns the whole key, to be shown once to whoever asked for it.
func (k Key) Reveal() string { return k.text }

// String is redacted.
func (k Key) String() string { return redacted }

// GoString is redacted, for %#v.
func (k Key) GoString() string { return redacted }

// LogValue is redacted, for slog.
func (k Key) LogValue() slog.Value { return slog.StringValue(redacted) }

// MarshalText is redacted, for JSON: a key never leaves by accident.
func (k Key) MarshalText() ([]byte, error) { return []byte(redacted), nil }

// Parse returns the id and the hash of a key as a caller presented it. The only
// error is [ErrMalformed]. Whether such a key exists is for the caller to find
// out, with [Matches].
func Parse(presented string) (id string, hash Hash, err error) {
	if len(presented) > maxLength || !textPattern.MatchString(presented) {
		return "", Hash{}, ErrMalformed
	}
	hash = sha256.Sum256([]byte(presented))
	if match := ownPattern.FindStringSubmatch(presented); match != nil {
		return match[1], hash, nil
	}
	return derivedID(presented), hash, nil
}

// derivedID is the id of a key in another form. The dash keeps it apart from
// every id made by New; the prefix of the hashed text keeps it unrelated to the
// stored hash.
func derivedID(text string) string {
	sum := sha256.Sum256([]byte("wafleet key id\x00" + text))
	return DerivedPrefix + hex.EncodeToString(sum[:8])
}

// Weak reports whether a key of another form is too short to be accepted
// anywhere but on the machine of whoever chose it.
func Weak(presented string) bool {
	return len(presented) < minDerived && !ownPattern.MatchString(presented)
}

// IsID reports whether a text can be the id of a key.
func IsID(text string) bool { return idPattern.MatchString(text) }

// Loggable is what may be written of an id. An id made by New is random and
// passes. A derived one is cut to its prefix: with it a short key could be
// guessed without asking the server.
func Loggable(id string) string {
	if strings.HasPrefix(id, DerivedPrefix) {
		return DerivedPrefix + "[redacted]"
	}
	return id
}

// Matches compares a stored hash with a presented one in constant time.
func Matches(stored []byte, presented Hash) bool {
	return subtle.ConstantTimeCompare(stored, presented[:]) == 1
}
