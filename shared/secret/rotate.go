package secret

import (
	"context"
	"errors"
	"fmt"

	"github.com/tink-crypto/tink-go/v2/keyset"

	"github.com/wafleet/wafleet/shared/session"
)

// maxRaces is how often a rotation begins again because another was faster.
const maxRaces = 5

// Rotate adds a key to the fleet's data keyset and makes it the one that seals;
// where the fleet has no keyset yet it makes one. What was sealed before stays
// readable. Errors: that of [CheckARN], ErrUnreadable where the data keyset is
// another KMS key's, session.ErrUnavailable.
func Rotate(ctx context.Context, arn string, stored Keys) error {
	if err := CheckARN(arn); err != nil {
		return err
	}
	f := newFleet(arn, stored)
	for range maxRaces {
		done, err := f.rotate(ctx)
		if done || err != nil {
			return err
		}
	}
	return fmt.Errorf("%w: rotate the data key: others do the same", session.ErrUnavailable)
}

func (f *fleet) rotate(ctx context.Context) (done bool, err error) {
	old, err := f.stored.DataKey(ctx)
	if errors.Is(err, session.ErrNotFound) {
		_, err = f.make(ctx)
		return err == nil, err
	}
	if err != nil {
		return false, fmt.Errorf("read the data key: %w", err)
	}
	handle, err := f.unwrap(ctx, old)
	if err != nil {
		return false, err
	}
	if handle.Len() >= maxKeys {
		return false, fmt.Errorf("the data keyset has %d keys already, which is all that KMS can encrypt at once", handle.Len())
	}
	if handle, err = withNewKey(keyset.NewManagerFromHandle(handle)); err != nil {
		return false, err
	}
	next, err := f.wrap(ctx, handle)
	if err != nil {
		return false, err
	}
	if done, err = f.stored.ReplaceDataKey(ctx, old, next); err != nil {
		return false, fmt.Errorf("store the data key: %w", err)
	}
	return done, nil
}
