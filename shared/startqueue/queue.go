package startqueue

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/retry"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/aws/aws-sdk-go-v2/service/sqs/types"

	"github.com/wafleet/wafleet/shared/backoff"
	"github.com/wafleet/wafleet/shared/cloud"
)

// Queue is one SQS queue. It is safe for concurrent use.
type Queue struct {
	client *sqs.Client
	url    string
}

// Open returns the queue at a URL. It calls nothing yet: that a queue is not
// there is no reason not to start.
func Open(ctx context.Context, queueURL string) (*Queue, error) {
	p, err := parseURL(queueURL)
	if err != nil {
		return nil, err
	}
	settings, err := cloud.Load(ctx, p.region)
	if err != nil {
		return nil, fmt.Errorf("find AWS: %w", err)
	}
	if settings.Region == "" {
		return nil, errors.New("AWS_REGION is missing, and the URL of the queue does not tell the region")
	}
	return newQueue(settings, p), nil
}

// newQueue calls the host of the queue's URL, unless the environment names
// another endpoint.
func newQueue(settings aws.Config, p place) *Queue {
	client := sqs.NewFromConfig(settings, func(o *sqs.Options) {
		if o.BaseEndpoint == nil {
			o.BaseEndpoint = &p.endpoint
		}
		o.Retryer = secondAttempt()
	})
	return &Queue{client, p.url}
}

// secondAttempt tries once more, nearly at once: a connection that was kept open
// may have been closed meanwhile.
func secondAttempt() aws.Retryer {
	return retry.NewStandard(func(o *retry.StandardOptions) {
		o.MaxAttempts = 2
		o.Backoff = retry.BackoffDelayerFunc(func(int, error) (time.Duration, error) { return backoff.Jitter(20 * time.Millisecond), nil })
	})
}

// oneAttempt is for who pauses by itself.
func oneAttempt(o *sqs.Options) { o.Retryer = aws.NopRetryer{} }

func (q *Queue) send(ctx context.Context, body string) error {
	_, err := q.client.SendMessage(ctx, &sqs.SendMessageInput{QueueUrl: &q.url, MessageBody: &body})
	return err
}

// message is one that was received and is hidden from others for a while.
type message struct {
	body     string
	handle   string
	receives int // this one included; 0 where the queue does not say
}

// receive waits for at most n messages, and no longer than wait, of whole seconds.
func (q *Queue) receive(ctx context.Context, n int, wait time.Duration) ([]message, error) {
	ctx, cancel := context.WithTimeout(ctx, wait+pollSlack)
	defer cancel()
	out, err := q.client.ReceiveMessage(ctx, &sqs.ReceiveMessageInput{
		QueueUrl: &q.url, MaxNumberOfMessages: int32(n), WaitTimeSeconds: int32(wait.Seconds()), // #nosec G115 -- 10 and 20 at most
		MessageSystemAttributeNames: []types.MessageSystemAttributeName{types.MessageSystemAttributeNameApproximateReceiveCount},
	}, oneAttempt)
	if err != nil {
		return nil, err
	}
	received := make([]message, len(out.Messages))
	for i, m := range out.Messages {
		receives, _ := strconv.Atoi(m.Attributes[string(types.MessageSystemAttributeNameApproximateReceiveCount)])
		received[i] = message{aws.ToString(m.Body), aws.ToString(m.ReceiptHandle), receives}
	}
	return received, nil
}

// remove deletes messages in one call. One that is not deleted comes again.
func (q *Queue) remove(ctx context.Context, messages []message) error {
	entries := make([]types.DeleteMessageBatchRequestEntry, len(messages))
	for i, m := range messages {
		entries[i] = types.DeleteMessageBatchRequestEntry{Id: aws.String(strconv.Itoa(i)), ReceiptHandle: &m.handle}
	}
	out, err := q.client.DeleteMessageBatch(ctx, &sqs.DeleteMessageBatchInput{QueueUrl: &q.url, Entries: entries})
	if err != nil {
		return err
	}
	return firstOf(out.Failed)
}

// show ends the hiding of messages in one call, so that others receive them.
func (q *Queue) show(ctx context.Context, messages []message) error {
	entries := make([]types.ChangeMessageVisibilityBatchRequestEntry, len(messages))
	for i, m := range messages {
		entries[i] = types.ChangeMessageVisibilityBatchRequestEntry{Id: aws.String(strconv.Itoa(i)), ReceiptHandle: &m.handle}
	}
	out, err := q.client.ChangeMessageVisibilityBatch(ctx, &sqs.ChangeMessageVisibilityBatchInput{QueueUrl: &q.url, Entries: entries})
	if err != nil {
		return err
	}
	return firstOf(out.Failed)
}

func firstOf(failed []types.BatchResultErrorEntry) error {
	if len(failed) == 0 {
		return nil
	}
	return entryError(aws.ToString(failed[0].Code))
}

// entryError is the code of one entry of a batch.
type entryError string

func (e entryError) Error() string     { return "SQS refuses an entry: " + string(e) }
func (e entryError) ErrorCode() string { return string(e) }

// wordOf tells the kind of an error, for logs: its whole text may hold what a
// call was signed with.
func wordOf(err error) string {
	var coded interface{ ErrorCode() string }
	switch {
	case errors.Is(err, context.DeadlineExceeded):
		return "timeout"
	case errors.As(err, &coded):
		return coded.ErrorCode()
	}
	return "network"
}
