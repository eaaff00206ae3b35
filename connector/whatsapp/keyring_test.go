package whatsapp

import (
	"sync"
	"testing"

	"go.mau.fi/whatsmeow/util/keys"
)

func TestNobodyElseGetsAKeyPair(t *testing.T) {
	t.Parallel()
	var (
		k    keyring
		mu   sync.Mutex
		seen = map[[32]byte]bool{}
		wg   sync.WaitGroup
	)
	k.prepare()
	if len(k.spare) != firstUpload || k.making {
		t.Fatalf("%d spare keys, making %v", len(k.spare), k.making)
	}
	for range 4 {
		wg.Go(k.prepare)
		wg.Go(func() {
			for range firstUpload / 2 {
				pair := k.next()
				if keys.NewKeyPairFromPrivateKey(*pair.Priv).Pub == nil || *keys.NewKeyPairFromPrivateKey(*pair.Priv).Pub != *pair.Pub {
					t.Error("the halves do not belong together")
				}
				mu.Lock()
				if seen[*pair.Priv] {
					t.Error("a key was given out twice")
				}
				seen[*pair.Priv] = true
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	if len(seen) != 2*firstUpload {
		t.Errorf("%d keys", len(seen))
	}
}
