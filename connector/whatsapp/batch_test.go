package whatsapp

import (
	"context"
	"errors"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	"go.mau.fi/whatsmeow/store"
	"go.mau.fi/whatsmeow/types"
	"go.mau.fi/whatsmeow/util/keys"

	"github.com/wafleet/wafleet/shared/session"
)

// batched is a linked device with the stores that a connection gives it, and the
// same device with whatsmeow's own.
func batched(t *testing.T, dialect session.Dialect) (h *holding, ours, plain *store.Device) {
	t.Helper()
	h = newRig(t).open(dialect)
	jid := h.pair("5511999999999")
	var err error
	ours, err = h.load(t.Context(), jid)
	h.must(err)
	parsed, err := types.ParseJID(jid)
	h.must(err)
	plain, err = h.container.GetDevice(t.Context(), parsed)
	h.must(err)
	return h, ours, plain
}

// TestPreKeysAreKeptAsWhatsmeowDoes asks both kinds of store in turn: each must
// find what the other has written.
func TestPreKeysAreKeptAsWhatsmeowDoes(t *testing.T) {
	dialects(t, func(t *testing.T, dialect session.Dialect) {
		h, ours, plain := batched(t, dialect)
		get := func(from *store.Device, count uint32) []*keys.PreKey {
			t.Helper()
			list, err := from.PreKeys.GetOrGenPreKeys(t.Context(), count)
			h.must(err)
			if len(list) != int(count) {
				t.Fatalf("%d prekeys, want %d", len(list), count)
			}
			return list
		}
		first := get(ours, firstUpload)
		for i, key := range first {
			if key.KeyID != first[0].KeyID+uint32(i) {
				t.Fatalf("prekey %d has the id %d, and the first %d", i, key.KeyID, first[0].KeyID)
			}
		}
		if diff := cmp.Diff(first, get(plain, firstUpload)); diff != "" {
			t.Errorf("whatsmeow reads others:\n%s", diff)
		}
		if diff := cmp.Diff(first[:50], get(ours, 50)); diff != "" {
			t.Errorf("the second time others:\n%s", diff)
		}
		h.must(ours.PreKeys.MarkPreKeysAsUploaded(t.Context(), first[799].KeyID))
		second := get(ours, 20) // twelve are left
		if diff := cmp.Diff(first[800:], second[:12]); diff != "" {
			t.Errorf("those left are others:\n%s", diff)
		}
		if id := second[12].KeyID; id != first[firstUpload-1].KeyID+1 {
			t.Errorf("the next id is %d after %d", id, first[firstUpload-1].KeyID)
		}
		third := get(plain, 25)
		if diff := cmp.Diff(third, get(ours, 25)); diff != "" {
			t.Errorf("whatsmeow's are read as others:\n%s", diff)
		}
	})
}

func TestPreKeysTakePartInATransaction(t *testing.T) {
	dialects(t, func(t *testing.T, dialect session.Dialect) {
		h, ours, _ := batched(t, dialect)
		before := h.dump()
		given := errors.New("given up")
		err := ours.EventBuffer.DoDecryptionTxn(t.Context(), func(ctx context.Context) error {
			list, err := ours.PreKeys.GetOrGenPreKeys(ctx, 100)
			h.must(err)
			if len(list) != 100 {
				t.Errorf("%d prekeys", len(list))
			}
			return given
		})
		if !errors.Is(err, given) {
			t.Error(err)
		}
		if diff := cmp.Diff(before, h.dump()); diff != "" {
			t.Errorf("rows changed:\n%s", diff)
		}
	})
}

func TestNoTwoPreKeysGetOneID(t *testing.T) {
	dialects(t, func(t *testing.T, dialect session.Dialect) {
		_, ours, _ := batched(t, dialect)
		var wg sync.WaitGroup
		for i := range 8 {
			wg.Go(func() {
				var err error
				if i%2 == 0 {
					_, err = ours.PreKeys.GenOnePreKey(t.Context())
				} else {
					_, err = ours.PreKeys.GetOrGenPreKeys(t.Context(), uint32(100*i))
				}
				if err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
	})
}
