package whatsapp

import (
	"context"
	"time"

	"go.mau.fi/whatsmeow/store"
	"go.mau.fi/whatsmeow/types"
	"go.mau.fi/whatsmeow/util/keys"
)

// fence puts a term in front of everything that a device writes to. Reads pass:
// they move nothing. A device must be fenced before a client sees it; a new
// device is fenced again when it is first saved, because its stores are made
// only then. order is told of that, and of a deletion.
func fence(device *store.Device, held Fence, order *order) {
	if inner, ok := device.Container.(fencedContainer); ok {
		device.Container = inner.DeviceContainer // whatsmeow made the stores, not us
	}
	device.Container = fencedContainer{device.Container, held, order}
	if inner, ok := device.Identities.(store.AllSessionSpecificStores); ok {
		device.SetAllStores(fencedStore{inner, held})
	}
	if device.LIDs != nil {
		device.LIDs = fencedLIDs{device.LIDs, held}
	}
}

// fencedContainer saves and deletes a device only while the term goes on.
type fencedContainer struct {
	store.DeviceContainer
	held  Fence
	order *order
}

func (f fencedContainer) PutDevice(ctx context.Context, device *store.Device) error {
	if err := f.held(); err != nil {
		return err
	}
	fresh := !device.Initialized
	if fresh {
		f.order.saved.set()
	}
	err := f.DeviceContainer.PutDevice(ctx, device)
	if fresh && device.Initialized {
		fence(device, f.held, f.order)
	}
	return err
}

func (f fencedContainer) DeleteDevice(ctx context.Context, device *store.Device) error {
	defer f.order.forgotten.set()
	if err := f.held(); err != nil {
		return err
	}
	return f.DeviceContainer.DeleteDevice(ctx, device)
}

// fencedLIDs is the map between phone numbers and LIDs.
type fencedLIDs struct {
	store.LIDStore
	held Fence
}

func (f fencedLIDs) PutManyLIDMappings(ctx context.Context, mappings []store.LIDMapping) error {
	if err := f.held(); err != nil {
		return err
	}
	return f.LIDStore.PutManyLIDMappings(ctx, mappings)
}

func (f fencedLIDs) PutLIDMapping(ctx context.Context, lid, jid types.JID) error {
	if err := f.held(); err != nil {
		return err
	}
	return f.LIDStore.PutLIDMapping(ctx, lid, jid)
}

// fencedStore is every other store of a device. It overrides each method that
// writes; a test walks the interface, so that a new one cannot slip through.
type fencedStore struct {
	store.AllSessionSpecificStores
	held Fence
}

func (f fencedStore) PutIdentity(ctx context.Context, address string, key [32]byte) error {
	if err := f.held(); err != nil {
		return err
	}
	return f.AllSessionSpecificStores.PutIdentity(ctx, address, key)
}

func (f fencedStore) DeleteAllIdentities(ctx context.Context, phone string) error {
	if err := f.held(); err != nil {
		return err
	}
	return f.AllSessionSpecificStores.DeleteAllIdentities(ctx, phone)
}

func (f fencedStore) DeleteIdentity(ctx context.Context, address string) error {
	if err := f.held(); err != nil {
		return err
	}
	return f.AllSessionSpecificStores.DeleteIdentity(ctx, address)
}

func (f fencedStore) PutSession(ctx context.Context, address string, session []byte) error {
	if err := f.held(); err != nil {
		return err
	}
	return f.AllSessionSpecificStores.PutSession(ctx, address, session)
}

func (f fencedStore) PutManySessions(ctx context.Context, sessions map[string][]byte) error {
	if err := f.held(); err != nil {
		return err
	}
	return f.AllSessionSpecificStores.PutManySessions(ctx, sessions)
}

func (f fencedStore) DeleteAllSessions(ctx context.Context, phone string) error {
	if err := f.held(); err != nil {
		return err
	}
	return f.AllSessionSpecificStores.DeleteAllSessions(ctx, phone)
}

func (f fencedStore) DeleteSession(ctx context.Context, address string) error {
	if err := f.held(); err != nil {
		return err
	}
	return f.AllSessionSpecificStores.DeleteSession(ctx, address)
}

func (f fencedStore) MigratePNToLID(ctx context.Context, pn, lid types.JID) error {
	if err := f.held(); err != nil {
		return err
	}
	return f.AllSessionSpecificStores.MigratePNToLID(ctx, pn, lid)
}

func (f fencedStore) RemovePreKey(ctx context.Context, id uint32) error {
	if err := f.held(); err != nil {
		return err
	}
	return f.AllSessionSpecificStores.RemovePreKey(ctx, id)
}

func (f fencedStore) MarkPreKeysAsUploaded(ctx context.Context, upToID uint32) error {
	if err := f.held(); err != nil {
		return err
	}
	return f.AllSessionSpecificStores.MarkPreKeysAsUploaded(ctx, upToID)
}

func (f fencedStore) PutSenderKey(ctx context.Context, group, user string, session []byte) error {
	if err := f.held(); err != nil {
		return err
	}
	return f.AllSessionSpecificStores.PutSenderKey(ctx, group, user, session)
}

func (f fencedStore) PutAppStateSyncKey(ctx context.Context, id []byte, key store.AppStateSyncKey) error {
	if err := f.held(); err != nil {
		return err
	}
	return f.AllSessionSpecificStores.PutAppStateSyncKey(ctx, id, key)
}

func (f fencedStore) PutAppStateVersion(ctx context.Context, name string, version uint64, hash [128]byte) error {
	if err := f.held(); err != nil {
		return err
	}
	return f.AllSessionSpecificStores.PutAppStateVersion(ctx, name, version, hash)
}

func (f fencedStore) DeleteAppStateVersion(ctx context.Context, name string) error {
	if err := f.held(); err != nil {
		return err
	}
	return f.AllSessionSpecificStores.DeleteAppStateVersion(ctx, name)
}

func (f fencedStore) PutAppStateMutationMACs(ctx context.Context, name string, version uint64, mutations []store.AppStateMutationMAC) error {
	if err := f.held(); err != nil {
		return err
	}
	return f.AllSessionSpecificStores.PutAppStateMutationMACs(ctx, name, version, mutations)
}

func (f fencedStore) DeleteAppStateMutationMACs(ctx context.Context, name string, indexMACs [][]byte) error {
	if err := f.held(); err != nil {
		return err
	}
	return f.AllSessionSpecificStores.DeleteAppStateMutationMACs(ctx, name, indexMACs)
}

func (f fencedStore) PutContactName(ctx context.Context, user types.JID, fullName, firstName string) error {
	if err := f.held(); err != nil {
		return err
	}
	return f.AllSessionSpecificStores.PutContactName(ctx, user, fullName, firstName)
}

func (f fencedStore) PutAllContactNames(ctx context.Context, contacts []store.ContactEntry) error {
	if err := f.held(); err != nil {
		return err
	}
	return f.AllSessionSpecificStores.PutAllContactNames(ctx, contacts)
}

func (f fencedStore) PutManyRedactedPhones(ctx context.Context, entries []store.RedactedPhoneEntry) error {
	if err := f.held(); err != nil {
		return err
	}
	return f.AllSessionSpecificStores.PutManyRedactedPhones(ctx, entries)
}

func (f fencedStore) PutMutedUntil(ctx context.Context, chat types.JID, mutedUntil time.Time) error {
	if err := f.held(); err != nil {
		return err
	}
	return f.AllSessionSpecificStores.PutMutedUntil(ctx, chat, mutedUntil)
}

func (f fencedStore) PutPinned(ctx context.Context, chat types.JID, pinned bool) error {
	if err := f.held(); err != nil {
		return err
	}
	return f.AllSessionSpecificStores.PutPinned(ctx, chat, pinned)
}

func (f fencedStore) PutArchived(ctx context.Context, chat types.JID, archived bool) error {
	if err := f.held(); err != nil {
		return err
	}
	return f.AllSessionSpecificStores.PutArchived(ctx, chat, archived)
}

func (f fencedStore) PutMessageSecrets(ctx context.Context, inserts []store.MessageSecretInsert) error {
	if err := f.held(); err != nil {
		return err
	}
	return f.AllSessionSpecificStores.PutMessageSecrets(ctx, inserts)
}

func (f fencedStore) PutMessageSecret(ctx context.Context, chat, sender types.JID, id types.MessageID, secret []byte) error {
	if err := f.held(); err != nil {
		return err
	}
	return f.AllSessionSpecificStores.PutMessageSecret(ctx, chat, sender, id, secret)
}

func (f fencedStore) PutPrivacyTokens(ctx context.Context, tokens ...store.PrivacyToken) error {
	if err := f.held(); err != nil {
		return err
	}
	return f.AllSessionSpecificStores.PutPrivacyTokens(ctx, tokens...)
}

func (f fencedStore) PutNCTSalt(ctx context.Context, salt []byte) error {
	if err := f.held(); err != nil {
		return err
	}
	return f.AllSessionSpecificStores.PutNCTSalt(ctx, salt)
}

func (f fencedStore) DeleteNCTSalt(ctx context.Context) error {
	if err := f.held(); err != nil {
		return err
	}
	return f.AllSessionSpecificStores.DeleteNCTSalt(ctx)
}

func (f fencedStore) PutBufferedEvent(ctx context.Context, ciphertextHash [32]byte, plaintext []byte, serverTimestamp time.Time) error {
	if err := f.held(); err != nil {
		return err
	}
	return f.AllSessionSpecificStores.PutBufferedEvent(ctx, ciphertextHash, plaintext, serverTimestamp)
}

// DoDecryptionTxn asks again before the commit: a process may be frozen inside.
func (f fencedStore) DoDecryptionTxn(ctx context.Context, fn func(context.Context) error) error {
	if err := f.held(); err != nil {
		return err
	}
	return f.AllSessionSpecificStores.DoDecryptionTxn(ctx, func(ctx context.Context) error {
		if err := fn(ctx); err != nil {
			return err
		}
		return f.held()
	})
}

func (f fencedStore) ClearBufferedEventPlaintext(ctx context.Context, ciphertextHash [32]byte) error {
	if err := f.held(); err != nil {
		return err
	}
	return f.AllSessionSpecificStores.ClearBufferedEventPlaintext(ctx, ciphertextHash)
}

func (f fencedStore) DeleteOldBufferedHashes(ctx context.Context) error {
	if err := f.held(); err != nil {
		return err
	}
	return f.AllSessionSpecificStores.DeleteOldBufferedHashes(ctx)
}

func (f fencedStore) AddOutgoingEvent(ctx context.Context, chatJID types.JID, id types.MessageID, format string, plaintext []byte) error {
	if err := f.held(); err != nil {
		return err
	}
	return f.AllSessionSpecificStores.AddOutgoingEvent(ctx, chatJID, id, format, plaintext)
}

func (f fencedStore) DeleteOldOutgoingEvents(ctx context.Context) error {
	if err := f.held(); err != nil {
		return err
	}
	return f.AllSessionSpecificStores.DeleteOldOutgoingEvents(ctx)
}

func (f fencedStore) GetOrGenPreKeys(ctx context.Context, count uint32) ([]*keys.PreKey, error) {
	if err := f.held(); err != nil {
		return nil, err
	}
	return f.AllSessionSpecificStores.GetOrGenPreKeys(ctx, count)
}

func (f fencedStore) GenOnePreKey(ctx context.Context) (*keys.PreKey, error) {
	if err := f.held(); err != nil {
		return nil, err
	}
	return f.AllSessionSpecificStores.GenOnePreKey(ctx)
}

func (f fencedStore) DeleteExpiredPrivacyTokens(ctx context.Context, cutoff time.Time) (int64, error) {
	if err := f.held(); err != nil {
		return 0, err
	}
	return f.AllSessionSpecificStores.DeleteExpiredPrivacyTokens(ctx, cutoff)
}

func (f fencedStore) PutPushName(ctx context.Context, user types.JID, pushName string) (bool, string, error) {
	if err := f.held(); err != nil {
		return false, "", err
	}
	return f.AllSessionSpecificStores.PutPushName(ctx, user, pushName)
}

func (f fencedStore) PutBusinessName(ctx context.Context, user types.JID, businessName string) (bool, string, error) {
	if err := f.held(); err != nil {
		return false, "", err
	}
	return f.AllSessionSpecificStores.PutBusinessName(ctx, user, businessName)
}
