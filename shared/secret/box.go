package secret

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
)

// ErrUnreadable: sealed text that this box cannot open, now or later: it was
// sealed with another key, for another context, or it is damaged.
var ErrUnreadable = errors.New("the sealed secret cannot be opened")

// errNoDataKey: nobody has sealed anything yet.
var errNoDataKey = errors.New("the fleet has no data key")

const (
	version   = 1
	prefixLen = 1 + 5 // version; Tink's prefix with the key id
)

// Box seals and opens. It is safe for concurrent use.
type Box struct{ source source }

// source is where a box has its keys from.
type source interface {
	// keys are those at hand, or those that can be had. Errors: errNoDataKey,
	// ErrUnreadable, session.ErrUnavailable.
	keys(ctx context.Context) (*keys, error)
	// newer looks again for keys, and returns than itself where there are no others.
	newer(ctx context.Context, than *keys) (*keys, error)
	// make makes the first keys, or returns those of who was faster.
	make(ctx context.Context) (*keys, error)
}

// Seal encrypts. Only the same bound opens it again; bound is not secret and not
// part of the result. Errors: ErrUnreadable where the fleet's data key is not
// this KMS key's, session.ErrUnavailable.
func (b *Box) Seal(ctx context.Context, plaintext, bound []byte) ([]byte, error) {
	k, err := b.source.keys(ctx)
	if errors.Is(err, errNoDataKey) {
		k, err = b.source.make(ctx)
	}
	if err != nil {
		return nil, fmt.Errorf("seal: %w", err)
	}
	text, err := k.aead.Encrypt(plaintext, authenticated(bound))
	if err != nil {
		return nil, fmt.Errorf("seal: %w", err)
	}
	return append([]byte{version}, text...), nil
}

// Open decrypts what Seal made with the same bound. Errors: ErrUnreadable,
// session.ErrUnavailable.
func (b *Box) Open(ctx context.Context, sealed, bound []byte) ([]byte, error) {
	if len(sealed) < prefixLen || sealed[0] != version || sealed[1] != tinkPrefix {
		return nil, fmt.Errorf("%w: it has no known format", ErrUnreadable)
	}
	k, err := b.keysFor(ctx, binary.BigEndian.Uint32(sealed[2:prefixLen]))
	if errors.Is(err, errNoDataKey) {
		return nil, fmt.Errorf("%w: %w", ErrUnreadable, err)
	}
	if err != nil {
		return nil, fmt.Errorf("open: %w", err)
	}
	plaintext, err := k.aead.Decrypt(sealed[1:], authenticated(bound))
	if err != nil {
		return nil, fmt.Errorf("%w: it is damaged, or not of this context", ErrUnreadable)
	}
	return plaintext, nil
}

// keysFor returns keys with that one among them.
func (b *Box) keysFor(ctx context.Context, id uint32) (*keys, error) {
	k, err := b.source.keys(ctx)
	if err != nil || k.ids[id] {
		return k, err
	}
	if k, err = b.source.newer(ctx, k); err != nil || k.ids[id] {
		return k, err
	}
	return nil, fmt.Errorf("%w: its key %d is not in the keyset", ErrUnreadable, id)
}

// authenticated is what belongs to a sealed text without being in it.
func authenticated(bound []byte) []byte { return append([]byte{version}, bound...) }
