package whatsapp

import (
	"sync"

	"go.mau.fi/whatsmeow/util/keys"
)

// firstUpload is how many prekeys whatsmeow uploads for a new device.
const firstUpload = 812

// keyring makes the key pairs of prekeys ahead of time: those of a new device take
// 70 ms of a core, and somebody watches. It makes them while a code is shown.
type keyring struct {
	mu     sync.Mutex
	spare  []keys.KeyPair // guarded by mu
	making bool           // guarded by mu
}

// prepare makes enough for one new device, unless they are there or in the making.
func (k *keyring) prepare() {
	k.mu.Lock()
	begin := !k.making
	k.making = true
	k.mu.Unlock()
	for begin && k.more() {
		made := *keys.NewKeyPair()
		k.mu.Lock()
		k.spare = append(k.spare, made)
		k.mu.Unlock()
	}
}

// more reports whether keys are missing, and ends the making where none are.
func (k *keyring) more() bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.making = len(k.spare) < firstUpload
	return k.making
}

// next returns a key pair that nobody else gets.
func (k *keyring) next() keys.KeyPair {
	if pair, ok := k.take(); ok {
		return pair
	}
	return *keys.NewKeyPair()
}

func (k *keyring) take() (pair keys.KeyPair, ok bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if len(k.spare) == 0 {
		return pair, false
	}
	last := len(k.spare) - 1
	pair = k.spare[last]
	k.spare[last] = keys.KeyPair{}
	k.spare = k.spare[:last]
	return pair, true
}
