package secret

import (
	"errors"
	"fmt"

	"github.com/tink-crypto/tink-go/v2/aead"
	"github.com/tink-crypto/tink-go/v2/aead/aesgcm"
	"github.com/tink-crypto/tink-go/v2/keyset"
	"github.com/tink-crypto/tink-go/v2/tink"
)

const (
	// tinkPrefix is the first byte of what a key of the variant TINK makes.
	tinkPrefix = 1
	keyBytes   = 32
	// maxKeys keep a keyset within the 4096 bytes that KMS encrypts: a key takes
	// about 105.
	maxKeys = 32
)

// keys is one keyset, ready to use. It never changes.
type keys struct {
	aead   tink.AEAD
	ids    map[uint32]bool
	stored []byte // as the table has it; nil for a file's
}

// keysOf refuses keysets with keys of other kinds: they would open, and seal,
// with less than the format promises.
func keysOf(handle *keyset.Handle, stored []byte) (*keys, error) {
	k := &keys{ids: map[uint32]bool{}, stored: stored}
	for i := range handle.Len() {
		entry, err := handle.Entry(i)
		if err != nil {
			return nil, fmt.Errorf("read the keyset: %w", err)
		}
		p, ok := entry.Key().Parameters().(*aesgcm.Parameters)
		if !ok || p.KeySizeInBytes() != keyBytes || p.Variant() != aesgcm.VariantTink {
			return nil, errors.New("the keyset must have AES256_GCM keys only")
		}
		k.ids[entry.KeyID()] = entry.KeyStatus() == keyset.Enabled
	}
	var err error
	if k.aead, err = aead.New(handle); err != nil {
		return nil, fmt.Errorf("use the keyset: %w", err)
	}
	return k, nil
}

// newKeyset has one key.
func newKeyset() (*keyset.Handle, error) {
	return withNewKey(keyset.NewManager())
}

// withNewKey adds a key and seals with it from now on.
func withNewKey(manager *keyset.Manager) (*keyset.Handle, error) {
	id, err := manager.Add(aead.AES256GCMKeyTemplate())
	if err != nil {
		return nil, fmt.Errorf("make a key: %w", err)
	}
	if err := manager.SetPrimary(id); err != nil {
		return nil, fmt.Errorf("make a key: %w", err)
	}
	return manager.Handle()
}
