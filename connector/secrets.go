package main

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/wafleet/wafleet/shared/secret"
	"github.com/wafleet/wafleet/shared/session"
)

// openConfig puts a session's config together again. box is nil where this
// process has no key. Errors: secret.ErrUnreadable, where only another key or
// another config helps; session.ErrUnavailable.
func openConfig(ctx context.Context, box *secret.Box, tenant session.TenantID, stored session.Stored) (session.Config, error) {
	if stored.Secrets == nil {
		return stored.Config, nil
	}
	if box == nil {
		return session.Config{}, fmt.Errorf("%w: this connector has neither SECRETS_KEY_FILE nor SECRETS_KMS_KEY", secret.ErrUnreadable)
	}
	text, err := box.Open(ctx, stored.Secrets, session.SecretsContext(tenant))
	if err != nil {
		return session.Config{}, fmt.Errorf("decrypt the config's secrets: %w", err)
	}
	var whole session.Config
	if err := json.Unmarshal(text, &whole); err != nil {
		return session.Config{}, fmt.Errorf("%w: what was sealed is no config", secret.ErrUnreadable) // the decoder's text may repeat some of it
	}
	return whole, nil
}
