package control

import (
	"context"
	"time"

	"github.com/wafleet/wafleet/shared/store"
)

// Repeats remembers answers for callers who ask again, because theirs was lost.
type Repeats interface {
	ClaimIdempotency(ctx context.Context, request store.Repeatable) (store.IdempotencyClaim, error)
	AnswerIdempotency(ctx context.Context, claim store.IdempotencyClaim, answer store.Answer) error
	ReleaseIdempotency(ctx context.Context, claim store.IdempotencyClaim) error
}

// settleTimeout bounds the end of a claim, whose caller may have left.
const settleTimeout = 2 * time.Second

// Claim takes a request's key, and its caller runs the request and settles the
// claim. Where the request was answered before, the claim has the answer and
// there is nothing to run. Errors: [ErrRepeatDiffers], [ErrRepeatRuns],
// session.ErrUnavailable.
func (c *Control) Claim(ctx context.Context, request store.Repeatable) (store.IdempotencyClaim, error) {
	claim, err := c.store.ClaimIdempotency(ctx, request)
	switch {
	case err != nil || claim.Mine:
		return claim, err
	case !claim.Same:
		return claim, ErrRepeatDiffers
	case claim.Answer == nil:
		return claim, ErrRepeatRuns
	}
	return claim, nil
}

// Settle ends a claim: the answer is kept for who asks again, and a nil one
// frees the key. It also runs where the caller has gone. After an error the key
// stays taken until the claim lapses.
func (c *Control) Settle(ctx context.Context, claim store.IdempotencyClaim, answer *store.Answer) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), settleTimeout)
	defer cancel()
	if answer == nil {
		return c.store.ReleaseIdempotency(ctx, claim)
	}
	return c.store.AnswerIdempotency(ctx, claim, *answer)
}
