package control

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/wafleet/wafleet/shared/session"
)

// ErrSecretsUnavailable: the config carries secrets and the deployment has no
// key to encrypt them with.
var ErrSecretsUnavailable = errors.New("this deployment has no key to encrypt secrets with")

// Sealer encrypts what a connector opens again. Errors: session.ErrUnavailable.
type Sealer interface {
	Seal(ctx context.Context, plaintext, bound []byte) ([]byte, error)
}

// seal takes a config apart into what the database may show and what it may not.
// Errors: [ErrSecretsUnavailable], which names a field, session.ErrUnavailable.
func (c *Control) seal(ctx context.Context, tenant session.TenantID, config session.Config) (session.Stored, error) {
	field, found := config.FirstSecret()
	if !found {
		return session.Stored{Config: config}, nil
	}
	if c.config.Secrets == nil {
		return session.Stored{}, fmt.Errorf("%w: %s cannot be stored", ErrSecretsUnavailable, field)
	}
	whole, err := json.Marshal(config)
	if err != nil {
		return session.Stored{}, fmt.Errorf("encode the config: %w", err)
	}
	sealed, err := c.config.Secrets.Seal(ctx, whole, session.SecretsContext(tenant))
	if err != nil {
		return session.Stored{}, fmt.Errorf("encrypt the config's secrets: %w", err)
	}
	return session.Stored{Config: config.Echo(), Secrets: sealed}, nil
}
