package whatsapp

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"sync"

	"github.com/lib/pq"
	"go.mau.fi/util/dbutil"
	"go.mau.fi/whatsmeow/store"
	"go.mau.fi/whatsmeow/util/keys"
)

// batch makes a saved device write many prekeys in one statement. whatsmeow
// writes one at a time, each in a transaction of its own, and a pairing makes 812:
// on a Postgres that waits for its disk that is most of a pairing.
func (d *Device) batch(device *store.Device) {
	if inner, ok := device.Identities.(stores); ok {
		device.SetAllStores(&batchedStore{stores: inner, db: d.container.db, keys: &d.devices.keys, jid: device.ID.String()})
	}
}

// batchingContainer batches a new device when it is first saved, because its
// stores are made only then.
type batchingContainer struct {
	store.DeviceContainer
	of *Device
}

func (b batchingContainer) PutDevice(ctx context.Context, device *store.Device) error {
	fresh := !device.Initialized
	err := b.DeviceContainer.PutDevice(ctx, device)
	if fresh && device.Initialized {
		b.of.batch(device)
	}
	return err
}

// batchedStore keeps whatsmeow's tables as whatsmeow does.
type batchedStore struct {
	stores
	db   *dbutil.Database // whatsmeow's own, so that it takes part in its transactions
	keys *keyring
	jid  string

	generating sync.Mutex // held from the choice of an id until its key is written
}

// GetOrGenPreKeys returns count prekeys that were never uploaded, with those that
// are kept already first.
func (s *batchedStore) GetOrGenPreKeys(ctx context.Context, count uint32) ([]*keys.PreKey, error) {
	s.generating.Lock()
	defer s.generating.Unlock()
	kept, err := s.neverUploaded(ctx, count)
	if err != nil || len(kept) == int(count) {
		return kept, err
	}
	var last uint32
	err = s.db.QueryRow(ctx, `SELECT COALESCE(MAX(key_id), 0) FROM whatsmeow_pre_keys WHERE jid = $1`, s.jid).Scan(&last)
	if err != nil {
		return nil, fmt.Errorf("find the newest prekey: %w", err)
	}
	fresh := make([]*keys.PreKey, int(count)-len(kept))
	for i := range fresh {
		last++
		fresh[i] = &keys.PreKey{KeyPair: s.keys.next(), KeyID: last}
	}
	if err := s.insert(ctx, fresh); err != nil {
		return nil, err
	}
	return append(kept, fresh...), nil
}

func (s *batchedStore) GenOnePreKey(ctx context.Context) (*keys.PreKey, error) {
	s.generating.Lock()
	defer s.generating.Unlock()
	return s.stores.GenOnePreKey(ctx)
}

func (s *batchedStore) neverUploaded(ctx context.Context, limit uint32) ([]*keys.PreKey, error) {
	rows, err := s.db.Query(ctx, `SELECT key_id, key FROM whatsmeow_pre_keys WHERE jid = $1 AND uploaded = false ORDER BY key_id LIMIT $2`, s.jid, limit)
	if err != nil {
		return nil, fmt.Errorf("read the prekeys that were not uploaded: %w", err)
	}
	defer rows.Close()
	var kept []*keys.PreKey
	for rows.Next() {
		var (
			id      uint32
			private []byte
		)
		if err := rows.Scan(&id, &private); err != nil {
			return nil, fmt.Errorf("read the prekeys that were not uploaded: %w", err)
		}
		if len(private) != len(keys.KeyPair{}.Priv) {
			return nil, fmt.Errorf("prekey %d has %d bytes", id, len(private))
		}
		kept = append(kept, &keys.PreKey{KeyPair: *keys.NewKeyPairFromPrivateKey([32]byte(private)), KeyID: id})
	}
	return kept, rows.Err()
}

// insert writes prekeys in one statement, which is atomic.
func (s *batchedStore) insert(ctx context.Context, fresh []*keys.PreKey) error {
	query, args := insertRows(s.jid, fresh)
	if s.db.Dialect == dbutil.Postgres {
		query, args = insertArrays(s.jid, fresh)
	}
	if _, err := s.db.Exec(ctx, query, args...); err != nil {
		return fmt.Errorf("write %d prekeys: %w", len(fresh), err)
	}
	return nil
}

// insertArrays spares Postgres to read as many parameters.
func insertArrays(jid string, fresh []*keys.PreKey) (query string, args []any) {
	ids, private := make(pq.Int64Array, len(fresh)), make(pq.ByteaArray, len(fresh))
	for i, key := range fresh {
		ids[i], private[i] = int64(key.KeyID), key.Priv[:]
	}
	return `INSERT INTO whatsmeow_pre_keys (jid, key_id, key, uploaded) SELECT $1, k.id, k.private, false FROM unnest($2::integer[], $3::bytea[]) k(id, private)`,
		[]any{jid, ids, private}
}

// insertRows is for SQLite, which has no arrays and takes ten times the parameters
// of the largest upload.
func insertRows(jid string, fresh []*keys.PreKey) (query string, args []any) {
	var text strings.Builder
	text.WriteString(`INSERT INTO whatsmeow_pre_keys (jid, key_id, key, uploaded) VALUES `)
	args = make([]any, 1, 1+2*len(fresh))
	args[0] = jid
	for i, key := range fresh {
		if i > 0 {
			text.WriteByte(',')
		}
		text.WriteString("($1,$")
		text.WriteString(strconv.Itoa(len(args) + 1))
		text.WriteString(",$")
		text.WriteString(strconv.Itoa(len(args) + 2))
		text.WriteString(",false)")
		args = append(args, key.KeyID, key.Priv[:])
	}
	return text.String(), args
}
