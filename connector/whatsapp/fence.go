package whatsapp

import (
	"context"
	"time"

	"go.mau.fi/whatsmeow/store"
	"go.mau.fi/whatsmeow/types"
	"go.mau.fi/whatsmeow/util/keys"
)

// stores are all stores of a device but the map of LIDs.
type stores = store.AllSessionSpecificStores

// fence puts a term's gate in front of everything that a device writes to. Reads
// pass: they move nothing. A device must be fenced before a client sees it; a new
// device is fenced again when it is first saved, because its stores are made
// only then. order is told of that, and of a deletion.
func fence(device *store.Device, gate *gate, order *order) {
	if inner, ok := device.Container.(fencedContainer); ok {
		device.Container = inner.DeviceContainer // whatsmeow made the stores, not us
	}
	device.Container = fencedContainer{device.Container, gate, order}
	if inner, ok := device.Identities.(stores); ok {
		device.SetAllStores(fencedStore{inner, gate})
	}
	if device.LIDs != nil {
		device.LIDs = fencedLIDs{device.LIDs, gate}
	}
}

// writeFor is a write that has a result.
func writeFor[T any](ctx context.Context, g *gate, do func(context.Context) (T, error)) (result T, err error) {
	err = g.write(ctx, func(ctx context.Context) (err error) {
		result, err = do(ctx)
		return err
	})
	return result, err
}

// fencedContainer saves and deletes a device only while the term goes on.
type fencedContainer struct {
	store.DeviceContainer
	gate  *gate
	order *order
}

func (f fencedContainer) PutDevice(ctx context.Context, device *store.Device) error {
	return f.gate.write(ctx, func(ctx context.Context) error {
		fresh := !device.Initialized
		if fresh {
			f.order.saved.set()
		}
		err := f.DeviceContainer.PutDevice(ctx, device)
		if fresh && device.Initialized {
			fence(device, f.gate, f.order)
		}
		return err
	})
}

// DeleteDevice also empties the only table that does not go with the device. What
// is older than the future is everything.
func (f fencedContainer) DeleteDevice(ctx context.Context, device *store.Device) error {
	defer f.order.forgotten.set()
	return f.gate.write(ctx, func(ctx context.Context) error {
		if device.PrivacyTokens != nil { // it was saved once
			if _, err := device.PrivacyTokens.DeleteExpiredPrivacyTokens(ctx, time.Now().AddDate(100, 0, 0)); err != nil {
				return err
			}
		}
		return f.DeviceContainer.DeleteDevice(ctx, device)
	})
}

// fencedLIDs is the map between phone numbers and LIDs.
type fencedLIDs struct {
	store.LIDStore
	gate *gate
}

func (f fencedLIDs) PutManyLIDMappings(ctx context.Context, mappings []store.LIDMapping) error {
	return f.gate.write(ctx, func(ctx context.Context) error { return f.LIDStore.PutManyLIDMappings(ctx, mappings) })
}

func (f fencedLIDs) PutLIDMapping(ctx context.Context, lid, jid types.JID) error {
	return f.gate.write(ctx, func(ctx context.Context) error { return f.LIDStore.PutLIDMapping(ctx, lid, jid) })
}

// fencedStore is every other store of a device. It overrides each method that
// writes; a test walks the interface, so that a new one cannot slip through.
type fencedStore struct {
	stores
	gate *gate
}

func (f fencedStore) PutIdentity(ctx context.Context, address string, key [32]byte) error {
	return f.gate.write(ctx, func(ctx context.Context) error { return f.stores.PutIdentity(ctx, address, key) })
}

func (f fencedStore) DeleteAllIdentities(ctx context.Context, phone string) error {
	return f.gate.write(ctx, func(ctx context.Context) error { return f.stores.DeleteAllIdentities(ctx, phone) })
}

func (f fencedStore) DeleteIdentity(ctx context.Context, address string) error {
	return f.gate.write(ctx, func(ctx context.Context) error { return f.stores.DeleteIdentity(ctx, address) })
}

func (f fencedStore) PutSession(ctx context.Context, address string, session []byte) error {
	return f.gate.write(ctx, func(ctx context.Context) error { return f.stores.PutSession(ctx, address, session) })
}

func (f fencedStore) PutManySessions(ctx context.Context, sessions map[string][]byte) error {
	return f.gate.write(ctx, func(ctx context.Context) error { return f.stores.PutManySessions(ctx, sessions) })
}

func (f fencedStore) DeleteAllSessions(ctx context.Context, phone string) error {
	return f.gate.write(ctx, func(ctx context.Context) error { return f.stores.DeleteAllSessions(ctx, phone) })
}

func (f fencedStore) DeleteSession(ctx context.Context, address string) error {
	return f.gate.write(ctx, func(ctx context.Context) error { return f.stores.DeleteSession(ctx, address) })
}

func (f fencedStore) MigratePNToLID(ctx context.Context, pn, lid types.JID) error {
	return f.gate.write(ctx, func(ctx context.Context) error { return f.stores.MigratePNToLID(ctx, pn, lid) })
}

func (f fencedStore) RemovePreKey(ctx context.Context, id uint32) error {
	return f.gate.write(ctx, func(ctx context.Context) error { return f.stores.RemovePreKey(ctx, id) })
}

func (f fencedStore) MarkPreKeysAsUploaded(ctx context.Context, upToID uint32) error {
	return f.gate.write(ctx, func(ctx context.Context) error { return f.stores.MarkPreKeysAsUploaded(ctx, upToID) })
}

func (f fencedStore) PutSenderKey(ctx context.Context, group, user string, session []byte) error {
	return f.gate.write(ctx, func(ctx context.Context) error { return f.stores.PutSenderKey(ctx, group, user, session) })
}

func (f fencedStore) PutAppStateSyncKey(ctx context.Context, id []byte, key store.AppStateSyncKey) error {
	return f.gate.write(ctx, func(ctx context.Context) error { return f.stores.PutAppStateSyncKey(ctx, id, key) })
}

func (f fencedStore) PutAppStateVersion(ctx context.Context, name string, version uint64, hash [128]byte) error {
	return f.gate.write(ctx, func(ctx context.Context) error { return f.stores.PutAppStateVersion(ctx, name, version, hash) })
}

func (f fencedStore) DeleteAppStateVersion(ctx context.Context, name string) error {
	return f.gate.write(ctx, func(ctx context.Context) error { return f.stores.DeleteAppStateVersion(ctx, name) })
}

func (f fencedStore) PutAppStateMutationMACs(ctx context.Context, name string, version uint64, mutations []store.AppStateMutationMAC) error {
	return f.gate.write(ctx, func(ctx context.Context) error {
		return f.stores.PutAppStateMutationMACs(ctx, name, version, mutations)
	})
}

func (f fencedStore) DeleteAppStateMutationMACs(ctx context.Context, name string, indexMACs [][]byte) error {
	return f.gate.write(ctx, func(ctx context.Context) error { return f.stores.DeleteAppStateMutationMACs(ctx, name, indexMACs) })
}

func (f fencedStore) PutContactName(ctx context.Context, user types.JID, fullName, firstName string) error {
	return f.gate.write(ctx, func(ctx context.Context) error { return f.stores.PutContactName(ctx, user, fullName, firstName) })
}

func (f fencedStore) PutAllContactNames(ctx context.Context, contacts []store.ContactEntry) error {
	return f.gate.write(ctx, func(ctx context.Context) error { return f.stores.PutAllContactNames(ctx, contacts) })
}

func (f fencedStore) PutManyRedactedPhones(ctx context.Context, entries []store.RedactedPhoneEntry) error {
	return f.gate.write(ctx, func(ctx context.Context) error { return f.stores.PutManyRedactedPhones(ctx, entries) })
}

func (f fencedStore) PutMutedUntil(ctx context.Context, chat types.JID, mutedUntil time.Time) error {
	return f.gate.write(ctx, func(ctx context.Context) error { return f.stores.PutMutedUntil(ctx, chat, mutedUntil) })
}

func (f fencedStore) PutPinned(ctx context.Context, chat types.JID, pinned bool) error {
	return f.gate.write(ctx, func(ctx context.Context) error { return f.stores.PutPinned(ctx, chat, pinned) })
}

func (f fencedStore) PutArchived(ctx context.Context, chat types.JID, archived bool) error {
	return f.gate.write(ctx, func(ctx context.Context) error { return f.stores.PutArchived(ctx, chat, archived) })
}

func (f fencedStore) PutMessageSecrets(ctx context.Context, inserts []store.MessageSecretInsert) error {
	return f.gate.write(ctx, func(ctx context.Context) error { return f.stores.PutMessageSecrets(ctx, inserts) })
}

func (f fencedStore) PutMessageSecret(ctx context.Context, chat, sender types.JID, id types.MessageID, secret []byte) error {
	return f.gate.write(ctx, func(ctx context.Context) error { return f.stores.PutMessageSecret(ctx, chat, sender, id, secret) })
}

func (f fencedStore) PutPrivacyTokens(ctx context.Context, tokens ...store.PrivacyToken) error {
	return f.gate.write(ctx, func(ctx context.Context) error { return f.stores.PutPrivacyTokens(ctx, tokens...) })
}

func (f fencedStore) PutNCTSalt(ctx context.Context, salt []byte) error {
	return f.gate.write(ctx, func(ctx context.Context) error { return f.stores.PutNCTSalt(ctx, salt) })
}

func (f fencedStore) DeleteNCTSalt(ctx context.Context) error {
	return f.gate.write(ctx, func(ctx context.Context) error { return f.stores.DeleteNCTSalt(ctx) })
}

func (f fencedStore) PutBufferedEvent(ctx context.Context, ciphertextHash [32]byte, plaintext []byte, serverTimestamp time.Time) error {
	return f.gate.write(ctx, func(ctx context.Context) error {
		return f.stores.PutBufferedEvent(ctx, ciphertextHash, plaintext, serverTimestamp)
	})
}

// DoDecryptionTxn asks again before the commit: a process may be frozen inside,
// or the term's end may have given the transaction up.
func (f fencedStore) DoDecryptionTxn(ctx context.Context, fn func(context.Context) error) error {
	return f.gate.write(ctx, func(ctx context.Context) error {
		return f.stores.DoDecryptionTxn(ctx, func(ctx context.Context) error {
			if err := fn(ctx); err != nil {
				return err
			}
			return f.gate.check()
		})
	})
}

func (f fencedStore) ClearBufferedEventPlaintext(ctx context.Context, ciphertextHash [32]byte) error {
	return f.gate.write(ctx, func(ctx context.Context) error { return f.stores.ClearBufferedEventPlaintext(ctx, ciphertextHash) })
}

func (f fencedStore) DeleteOldBufferedHashes(ctx context.Context) error {
	return f.gate.write(ctx, func(ctx context.Context) error { return f.stores.DeleteOldBufferedHashes(ctx) })
}

func (f fencedStore) AddOutgoingEvent(ctx context.Context, chatJID types.JID, id types.MessageID, format string, plaintext []byte) error {
	return f.gate.write(ctx, func(ctx context.Context) error { return f.stores.AddOutgoingEvent(ctx, chatJID, id, format, plaintext) })
}

func (f fencedStore) DeleteOldOutgoingEvents(ctx context.Context) error {
	return f.gate.write(ctx, func(ctx context.Context) error { return f.stores.DeleteOldOutgoingEvents(ctx) })
}

func (f fencedStore) GetOrGenPreKeys(ctx context.Context, count uint32) ([]*keys.PreKey, error) {
	return writeFor(ctx, f.gate, func(ctx context.Context) ([]*keys.PreKey, error) { return f.stores.GetOrGenPreKeys(ctx, count) })
}

func (f fencedStore) GenOnePreKey(ctx context.Context) (*keys.PreKey, error) {
	return writeFor(ctx, f.gate, f.stores.GenOnePreKey)
}

func (f fencedStore) DeleteExpiredPrivacyTokens(ctx context.Context, cutoff time.Time) (int64, error) {
	return writeFor(ctx, f.gate, func(ctx context.Context) (int64, error) { return f.stores.DeleteExpiredPrivacyTokens(ctx, cutoff) })
}

func (f fencedStore) PutPushName(ctx context.Context, user types.JID, pushName string) (changed bool, before string, err error) {
	err = f.gate.write(ctx, func(ctx context.Context) (err error) {
		changed, before, err = f.stores.PutPushName(ctx, user, pushName)
		return err
	})
	return changed, before, err
}

func (f fencedStore) PutBusinessName(ctx context.Context, user types.JID, businessName string) (changed bool, before string, err error) {
	err = f.gate.write(ctx, func(ctx context.Context) (err error) {
		changed, before, err = f.stores.PutBusinessName(ctx, user, businessName)
		return err
	})
	return changed, before, err
}
