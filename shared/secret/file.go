package secret

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/tink-crypto/tink-go/v2/insecurecleartextkeyset"
	"github.com/tink-crypto/tink-go/v2/keyset"
)

// maxFile is in bytes, far above any keyset.
const maxFile = 64 << 10

// OpenFile returns a box with the keyset of a file: Tink's JSON, in the clear. A
// file that others than its owner may read is refused. No error repeats what is
// in the file.
func OpenFile(path string) (*Box, error) {
	file, err := os.Open(path) // #nosec G304 -- the file that the operator names
	if err != nil {
		return nil, fmt.Errorf("the key file: %w", err)
	}
	defer file.Close()
	info, err := file.Stat()
	if err != nil {
		return nil, fmt.Errorf("the key file: %w", err)
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("the key file %s is not a regular file", path)
	}
	if mode := info.Mode().Perm(); mode&0o077 != 0 {
		return nil, fmt.Errorf("the key file %s is open to others than its owner (mode %04o): chmod 600 %s", path, mode, path)
	}
	handle, err := insecurecleartextkeyset.Read(keyset.NewJSONReader(io.LimitReader(file, maxFile)))
	if err != nil {
		return nil, fmt.Errorf("the key file %s holds no keyset of Tink", path)
	}
	k, err := keysOf(handle, nil)
	if err != nil {
		return nil, fmt.Errorf("the key file %s: %w", path, err)
	}
	return &Box{fixed{k}}, nil
}

// CreateFile makes a key file with a new key, mode 0600. It never replaces one:
// the error is fs.ErrExist then, because without the old key nothing that it
// sealed can be read again. The file is on the disk when it returns.
func CreateFile(path string) (err error) {
	handle, err := newKeyset()
	if err != nil {
		return err
	}
	var text bytes.Buffer
	if err := insecurecleartextkeyset.Write(handle, keyset.NewJSONWriter(&text)); err != nil {
		return fmt.Errorf("encode the keyset: %w", err)
	}
	file, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600) // #nosec G304 -- the file that the operator names
	if err != nil {
		return fmt.Errorf("make the key file: %w", err)
	}
	defer func() {
		if err != nil {
			_ = os.Remove(path) // half a keyset is worse than none
		}
	}()
	_, err = file.Write(append(text.Bytes(), '\n'))
	if err = errors.Join(err, file.Sync(), file.Close()); err != nil {
		return fmt.Errorf("write the key file: %w", err)
	}
	return syncDir(filepath.Dir(path))
}

// syncDir makes the name of a new file outlive a crash.
func syncDir(path string) error {
	dir, err := os.Open(path) // #nosec G304 -- the directory of the file that the operator names
	if err != nil {
		return fmt.Errorf("write the key file: %w", err)
	}
	if err := errors.Join(dir.Sync(), dir.Close()); err != nil {
		return fmt.Errorf("write the key file: %w", err)
	}
	return nil
}

// fixed are keys that a process has for its life.
type fixed struct{ have *keys }

func (f fixed) keys(context.Context) (*keys, error)                { return f.have, nil }
func (f fixed) newer(_ context.Context, than *keys) (*keys, error) { return than, nil }
func (f fixed) make(context.Context) (*keys, error)                { return f.have, nil }
