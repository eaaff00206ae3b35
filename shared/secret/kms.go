package secret

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"regexp"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/kms"
	"github.com/aws/aws-sdk-go-v2/service/kms/types"

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

	mu   sync.Mutex // guards made
	made caller
}

// caller is the client of KMS, of which two calls are used. As an interface it
// leaves the other fifty out of the program.
type caller interface {
	Encrypt(context.Context, *kms.EncryptInput, ...func(*kms.Options)) (*kms.EncryptOutput, error)
	Decrypt(context.Context, *kms.DecryptInput, ...func(*kms.Options)) (*kms.DecryptOutput, error)
}

// client is remembered once it is made; a failure is not.
func (k *kmsKey) client(ctx context.Context) (caller, error) {
	k.mu.Lock()
	made := k.made
	k.mu.Unlock()
	if made != nil {
		return made, nil
	}
	settings, err := cloud.Load(ctx, keyARN.FindStringSubmatch(k.arn)[1])
	if err != nil {
		return nil, err
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	k.made = kms.NewFromConfig(settings)
	return k.made, nil
}

// kmsCall is one call, bounded in time: Tink's AEADWithContext. It keeps the
// error itself, of which Tink hands on only the text.
//
// On the wire it is what Tink's own integration of KMS does, which would link the
// SDK's whole chain of credentials into every function.
type kmsCall struct {
	key    *kmsKey
	failed error
}

func (c *kmsCall) EncryptWithContext(ctx context.Context, plaintext, bound []byte) (ciphertext []byte, err error) {
	err = c.do(ctx, func(ctx context.Context, client caller) error {
		out, err := client.Encrypt(ctx, &kms.EncryptInput{KeyId: &c.key.arn, Plaintext: plaintext, EncryptionContext: contextOf(bound)})
		if err == nil {
			ciphertext = out.CiphertextBlob
		}
		return err
	})
	return ciphertext, err
}

func (c *kmsCall) DecryptWithContext(ctx context.Context, ciphertext, bound []byte) (plaintext []byte, err error) {
	err = c.do(ctx, func(ctx context.Context, client caller) error {
		out, err := client.Decrypt(ctx, &kms.DecryptInput{KeyId: &c.key.arn, CiphertextBlob: ciphertext, EncryptionContext: contextOf(bound)})
		if err == nil {
			plaintext = out.Plaintext
		}
		return err
	})
	return plaintext, err
}

// contextOf is what KMS authenticates, in the form that Tink gave it.
func contextOf(bound []byte) map[string]string {
	return map[string]string{"associatedData": hex.EncodeToString(bound)}
}

func (c *kmsCall) do(ctx context.Context, call func(context.Context, caller) error) error {
	ctx, cancel := context.WithTimeout(ctx, c.key.patience)
	defer cancel()
	client, err := c.key.client(ctx)
	if err != nil {
		c.failed = unavailable{err}
		return c.failed
	}
	if err := call(ctx, client); err != nil {
		c.failed = verdict(err)
		return c.failed
	}
	return nil
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
