package secret

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/tink-crypto/tink-go/v2/keyset"

	"github.com/wafleet/wafleet/shared/session"
)

// Keys is where the fleet's data keyset lies, encrypted.
type Keys interface {
	// DataKey returns session.ErrNotFound before there is one.
	DataKey(ctx context.Context) (wrapped []byte, err error)
	// PutDataKey stores the first one, and nothing where there is one.
	PutDataKey(ctx context.Context, wrapped []byte) error
	// ReplaceDataKey stores next where old is still what is stored.
	ReplaceDataKey(ctx context.Context, old, next []byte) (replaced bool, err error)
}

// OverKMS returns a box whose keys are the fleet's, encrypted by a key of AWS
// KMS. It connects to nothing. Region and, for tests, AWS_ENDPOINT_URL_KMS and
// credentials are found as the AWS SDK finds them, except that the region is the
// key's. The error is that of [CheckARN].
func OverKMS(arn string, stored Keys) (*Box, error) {
	if err := CheckARN(arn); err != nil {
		return nil, err
	}
	return &Box{newFleet(arn, stored)}, nil
}

// fleet reads the data keyset when it is needed, and keeps it.
type fleet struct {
	stored Keys
	kms    *kmsKey

	mu      sync.Mutex // guards what follows; not held across a call
	have    *keys      // nil before the first read
	reading *reading   // nil while nobody reads
}

// reading is one read for all who wait for it.
type reading struct {
	done chan struct{} // closed when what follows is set
	keys *keys
	err  error
	left bool // err is only that the one who read had no more time
}

func newFleet(arn string, stored Keys) *fleet {
	return &fleet{stored: stored, kms: &kmsKey{arn: arn, patience: kmsTimeout}}
}

func (f *fleet) keys(ctx context.Context) (*keys, error) { return f.newer(ctx, nil) }

// newer reads unless somebody has found other keys than these meanwhile. Of
// those who come at once, one reads.
func (f *fleet) newer(ctx context.Context, than *keys) (*keys, error) {
	for {
		have, now, mine := f.begin(than)
		if now == nil {
			return have, nil
		}
		if mine {
			f.read(ctx, now, than)
			return now.keys, now.err
		}
		select {
		case <-now.done:
			if !now.left {
				return now.keys, now.err
			}
		case <-ctx.Done():
			return nil, unavailable{ctx.Err()}
		}
	}
}

// begin returns the keys at hand, or else the read to wait for, and whether it
// is the caller's to do.
func (f *fleet) begin(than *keys) (have *keys, now *reading, mine bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.have != than {
		return f.have, nil, false
	}
	if f.reading == nil {
		f.reading, mine = &reading{done: make(chan struct{})}, true
	}
	return nil, f.reading, mine
}

// read ends its reading in any case, also where it panics: others wait.
func (f *fleet) read(ctx context.Context, now *reading, than *keys) {
	now.err, now.left = errors.New("the data key was not read"), true
	defer func() {
		f.mu.Lock()
		defer f.mu.Unlock()
		if now.err == nil {
			f.have = now.keys
		}
		f.reading = nil
		close(now.done)
	}()
	now.keys, now.err = f.fetch(ctx, than)
	now.left = now.err != nil && ctx.Err() != nil
}

// fetch asks KMS only for what the table did not have before.
func (f *fleet) fetch(ctx context.Context, than *keys) (*keys, error) {
	wrapped, err := f.stored.DataKey(ctx)
	if errors.Is(err, session.ErrNotFound) {
		return nil, errNoDataKey
	}
	if err != nil {
		return nil, fmt.Errorf("read the data key: %w", err)
	}
	if than != nil && bytes.Equal(wrapped, than.stored) {
		return than, nil
	}
	handle, err := f.unwrap(ctx, wrapped)
	if err != nil {
		return nil, err
	}
	return keysOf(handle, wrapped)
}

// make stores a keyset where the fleet has none, and uses what is stored then,
// which may be another's. That is read back, so nothing is ever sealed with a
// keyset that KMS does not decrypt.
func (f *fleet) make(ctx context.Context) (*keys, error) {
	handle, err := newKeyset()
	if err != nil {
		return nil, err
	}
	wrapped, err := f.wrap(ctx, handle)
	if err != nil {
		return nil, err
	}
	if err := f.stored.PutDataKey(ctx, wrapped); err != nil {
		return nil, fmt.Errorf("store the data key: %w", err)
	}
	return f.keys(ctx)
}

// keysetContext is authenticated by KMS with every data keyset, and shows in
// its log: nothing else that this KMS key encrypts can pass for one.
var keysetContext = []byte("wafleet data key")

func (f *fleet) wrap(ctx context.Context, handle *keyset.Handle) ([]byte, error) {
	var text bytes.Buffer
	call := kmsCall{key: f.kms}
	if err := handle.WriteWithContext(ctx, keyset.NewBinaryWriter(&text), &call, keysetContext); err != nil {
		return nil, fmt.Errorf("encrypt the data key: %w", call.cause(err))
	}
	return text.Bytes(), nil
}

func (f *fleet) unwrap(ctx context.Context, wrapped []byte) (*keyset.Handle, error) {
	call := kmsCall{key: f.kms}
	handle, err := keyset.ReadWithContext(ctx, keyset.NewBinaryReader(bytes.NewReader(wrapped)), &call, keysetContext)
	if err != nil {
		return nil, fmt.Errorf("decrypt the data key: %w", call.cause(err))
	}
	return handle, nil
}
