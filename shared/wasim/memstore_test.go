package wasim_test

import (
	"context"
	crand "crypto/rand"
	"math/rand/v2"
	"sync"
	"time"

	"go.mau.fi/whatsmeow/store"
	"go.mau.fi/whatsmeow/types"
	"go.mau.fi/whatsmeow/util/keys"
	waLog "go.mau.fi/whatsmeow/util/log"
)

// memStore keeps one device's credentials and Signal state in memory: what whatsmeow cannot do without. The rest is
// NoopStore's.
type memStore struct {
	store.NoopStore
	mu         sync.Mutex
	identities map[string][32]byte
	sessions   map[string][]byte
	preKeys    map[uint32]*keys.PreKey
	nextKey    uint32
	uploaded   uint32
	stateKeys  map[string]store.AppStateSyncKey
	latestKey  []byte
	versions   map[string]appStateVersion
	macs       map[string][]byte
	swept      chan struct{} // one item for every DeleteExpiredPrivacyTokens
}

type appStateVersion struct {
	version uint64
	hash    [128]byte
}

// newMemDevice makes an unpaired device.
func newMemDevice() *store.Device {
	m := &memStore{
		identities: map[string][32]byte{}, sessions: map[string][]byte{}, preKeys: map[uint32]*keys.PreKey{},
		stateKeys: map[string]store.AppStateSyncKey{}, versions: map[string]appStateVersion{}, macs: map[string][]byte{},
		swept: make(chan struct{}, 64),
	}
	identity := keys.NewKeyPair()
	secret := make([]byte, 32)
	_, _ = crand.Read(secret)
	return &store.Device{
		Log: waLog.Noop, NoiseKey: keys.NewKeyPair(), IdentityKey: identity, SignedPreKey: identity.CreateSignedPreKey(1),
		RegistrationID: rand.Uint32N(1 << 14), AdvSecretKey: secret, Initialized: true,
		Identities: m, Sessions: m, PreKeys: m, SenderKeys: m, AppStateKeys: m, AppState: m, Contacts: m,
		ChatSettings: m, MsgSecrets: m, PrivacyTokens: m, NCTSalt: m, EventBuffer: m, LIDs: m, Container: m,
	}
}

func (m *memStore) PutDevice(context.Context, *store.Device) error {
	return nil
}

func (m *memStore) DeleteDevice(context.Context, *store.Device) error {
	return nil
}

func (m *memStore) PutIdentity(_ context.Context, address string, key [32]byte) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.identities[address] = key
	return nil
}

func (m *memStore) IsTrustedIdentity(_ context.Context, address string, key [32]byte) (bool, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	known, ok := m.identities[address]
	return !ok || known == key, nil
}

func (m *memStore) GetSession(_ context.Context, address string) ([]byte, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.sessions[address], nil
}

func (m *memStore) HasSession(_ context.Context, address string) (bool, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.sessions[address] != nil, nil
}

func (m *memStore) GetManySessions(_ context.Context, addresses []string) (map[string][]byte, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	found := map[string][]byte{}
	for _, a := range addresses {
		found[a] = m.sessions[a]
	}
	return found, nil
}

func (m *memStore) PutSession(_ context.Context, address string, session []byte) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.sessions[address] = session
	return nil
}

func (m *memStore) PutManySessions(ctx context.Context, sessions map[string][]byte) error {
	for a, s := range sessions {
		_ = m.PutSession(ctx, a, s)
	}
	return nil
}

func (m *memStore) GetOrGenPreKeys(_ context.Context, count uint32) ([]*keys.PreKey, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	list := make([]*keys.PreKey, count)
	for i := range list {
		m.nextKey++
		list[i] = keys.NewPreKey(m.nextKey)
		m.preKeys[m.nextKey] = list[i]
	}
	return list, nil
}

func (m *memStore) GetPreKey(_ context.Context, id uint32) (*keys.PreKey, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.preKeys[id], nil
}

func (m *memStore) RemovePreKey(_ context.Context, id uint32) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.preKeys, id)
	return nil
}

func (m *memStore) MarkPreKeysAsUploaded(_ context.Context, upTo uint32) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.uploaded = upTo
	return nil
}

func (m *memStore) UploadedPreKeyCount(context.Context) (int, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	n := 0
	for id := range m.preKeys {
		if id <= m.uploaded {
			n++
		}
	}
	return n, nil
}

func (m *memStore) PutAppStateSyncKey(_ context.Context, id []byte, key store.AppStateSyncKey) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.stateKeys[string(id)] = key
	m.latestKey = id
	return nil
}

func (m *memStore) GetAppStateSyncKey(_ context.Context, id []byte) (*store.AppStateSyncKey, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if key, ok := m.stateKeys[string(id)]; ok {
		return &key, nil
	}
	return nil, nil
}

func (m *memStore) GetLatestAppStateSyncKeyID(context.Context) ([]byte, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.latestKey, nil
}

func (m *memStore) PutAppStateVersion(_ context.Context, name string, version uint64, hash [128]byte) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.versions[name] = appStateVersion{version, hash}
	return nil
}

func (m *memStore) GetAppStateVersion(_ context.Context, name string) (uint64, [128]byte, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	v := m.versions[name]
	return v.version, v.hash, nil
}

func (m *memStore) DeleteAppStateVersion(_ context.Context, name string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.versions, name)
	return nil
}

func (m *memStore) PutAppStateMutationMACs(_ context.Context, name string, _ uint64, list []store.AppStateMutationMAC) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, mac := range list {
		m.macs[name+string(mac.IndexMAC)] = mac.ValueMAC
	}
	return nil
}

func (m *memStore) GetAppStateMutationMAC(_ context.Context, name string, indexMAC []byte) ([]byte, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.macs[name+string(indexMAC)], nil
}

func (m *memStore) DeleteExpiredPrivacyTokens(context.Context, time.Time) (int64, error) {
	m.swept <- struct{}{}
	return 0, nil
}

func (m *memStore) DoDecryptionTxn(ctx context.Context, fn func(context.Context) error) error {
	return fn(ctx)
}

func (m *memStore) PutLIDMapping(context.Context, types.JID, types.JID) error { return nil }

func (m *memStore) GetContact(context.Context, types.JID) (types.ContactInfo, error) {
	return types.ContactInfo{}, nil
}
