package startqueue

import (
	"context"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
)

// OpenWith is Open without a look at the environment.
func OpenWith(settings aws.Config, queueURL string) (*Queue, error) {
	p, err := parseURL(queueURL)
	if err != nil {
		return nil, err
	}
	return newQueue(settings, p), nil
}

// Client is the SDK's own.
func (q *Queue) Client() *sqs.Client { return q.client }

// Received is one receive, as Run does it.
func (q *Queue) Received(ctx context.Context) (bodies []string, err error) {
	messages, err := q.receive(ctx, maxBatch, longPoll)
	for _, m := range messages {
		bodies = append(bodies, m.body)
	}
	return bodies, err
}
