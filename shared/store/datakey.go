package store

import "context"

const dataKey = `SELECT wrapped FROM data_key`

// DataKey returns the fleet's data keyset, encrypted, or session.ErrNotFound
// before there is one.
func (s *Store) DataKey(ctx context.Context) (wrapped []byte, err error) {
	err = s.db.QueryRowContext(ctx, dataKey).Scan(&wrapped)
	return wrapped, domain("read the data key", err)
}

const putDataKey = `INSERT INTO data_key (wrapped) VALUES ($1) ON CONFLICT (one) DO NOTHING`

// PutDataKey stores the first data keyset, and nothing where there is one.
func (s *Store) PutDataKey(ctx context.Context, wrapped []byte) error {
	_, err := s.db.ExecContext(ctx, putDataKey, wrapped)
	return domain("store the data key", err)
}

const replaceDataKey = `UPDATE data_key SET wrapped = $2, rotated_at = now() WHERE wrapped = $1`

// ReplaceDataKey stores next where old is still what is stored, and reports
// whether it was.
func (s *Store) ReplaceDataKey(ctx context.Context, old, next []byte) (replaced bool, err error) {
	result, err := s.db.ExecContext(ctx, replaceDataKey, old, next)
	if err != nil {
		return false, domain("replace the data key", err)
	}
	rows, err := result.RowsAffected()
	return rows == 1, domain("replace the data key", err)
}
