package secret

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/kms"
	"github.com/aws/aws-sdk-go-v2/service/kms/types"
	"github.com/tink-crypto/tink-go-awskms/v3/integration/awskms"
	"github.com/tink-crypto/tink-go/v2/tink"

	"github.com/wafleet/wafleet/shared/cloud"
	"github.com/wafleet/wafleet/shared/session"
)

// kmsTimeout bounds one call, the SDK's own retries and the search for
// credentials included.
const kmsTimeout = 5 * time.Second

// keyARN follows the AWS documentation: partition, region, account, key id. An
// alias will not do: what it points to may change, and Decrypt names its key.
var keyARN = regexp.MustCompile(`^arn:aws[a-z-]*:kms:([a-z0-9-]+):[0-9]{12}:key/[A-Za-z0-9-]{1,128}$`)

// CheckARN reports whether a text can be the ARN of a KMS key.
func CheckARN(arn string) error {
	if !keyARN.MatchString(arn) {
		return errors.New("must be the ARN of a KMS key, such as arn:aws:kms:eu-central-1:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab")
	}
	return nil
}

// kmsKey is a key of AWS KMS. The client for it is made at the first call.
type kmsKey struct {
	arn      string
	patience time.Duration

	mu   sync.Mutex // guards aead
	aead tink.AEADWithContext
}

// client is remembered once it is made; a failure is not.
func (k *kmsKey) client(ctx context.Context) (tink.AEADWithContext, error) {
	k.mu.Lock()
	made := k.aead
	k.mu.Unlock()
	if made != nil {
		return made, nil
	}
	settings, err := cloud.Load(ctx, keyARN.FindStringSubmatch(k.arn)[1])
	if err != nil {
		return nil, err
	}
	made, err = awskms.NewAEADWithContext(ctx, k.arn, awskms.WithKMS(kms.NewFromConfig(settings)))
	if err != nil {
		return nil, err
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	k.aead = made
	return made, nil
}

// kmsCall is one call, bounded in time. It keeps the error itself, of which Tink
// hands on only the text.
type kmsCall struct {
	key    *kmsKey
	failed error
}

func (c *kmsCall) EncryptWithContext(ctx context.Context, plaintext, bound []byte) ([]byte, error) {
	return c.do(ctx, func(ctx context.Context, aead tink.AEADWithContext) ([]byte, error) {
		return aead.EncryptWithContext(ctx, plaintext, bound)
	})
}

func (c *kmsCall) DecryptWithContext(ctx context.Context, ciphertext, bound []byte) ([]byte, error) {
	return c.do(ctx, func(ctx context.Context, aead tink.AEADWithContext) ([]byte, error) {
		return aead.DecryptWithContext(ctx, ciphertext, bound)
	})
}

func (c *kmsCall) do(ctx context.Context, call func(context.Context, tink.AEADWithContext) ([]byte, error)) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, c.key.patience)
	defer cancel()
	aead, err := c.key.client(ctx)
	if err != nil {
		c.failed = unavailable{err}
		return nil, c.failed
	}
	text, err := call(ctx, aead)
	if err != nil {
		c.failed = verdict(err)
		return nil, c.failed
	}
	return text, nil
}

// cause is what the call failed with, or else what Tink says about its result.
func (c *kmsCall) cause(err error) error {
	if c.failed != nil {
		return c.failed
	}
	return fmt.Errorf("%w: %w", ErrUnreadable, err)
}

// verdict tells a text that is another key's, which no retry mends, from all
// else: a network, a throttle, a permission that an operator will give.
func verdict(err error) error {
	var (
		notThisKey *types.IncorrectKeyException
		damaged    *types.InvalidCiphertextException
	)
	if errors.As(err, &notThisKey) || errors.As(err, &damaged) {
		return fmt.Errorf("%w: %w", ErrUnreadable, err)
	}
	return unavailable{err}
}

// unavailable is session.ErrUnavailable with a text of its own: it is not the
// database that is away.
type unavailable struct{ cause error }

func (e unavailable) Error() string   { return "AWS KMS is unavailable: " + e.cause.Error() }
func (e unavailable) Unwrap() []error { return []error{session.ErrUnavailable, e.cause} }
