package startqueue_test

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/aws/aws-sdk-go-v2/service/sqs/types"

	"github.com/wafleet/wafleet/shared/startqueue/fakesqs"
)

// TestTheContractOfAQueue holds the fake, and an emulator where there is one, to
// what this package relies on in SQS.
func TestTheContractOfAQueue(t *testing.T) {
	t.Parallel()
	t.Run("fake", func(t *testing.T) {
		t.Parallel()
		server := httptest.NewServer(fakesqs.New())
		t.Cleanup(server.Close)
		contract(t, server.URL, nil)
	})
	if emulator := os.Getenv("SQS_EMULATOR_URL"); emulator != "" {
		t.Run("emulator", func(t *testing.T) {
			t.Parallel()
			contract(t, emulator, deviations)
		})
	}
}

// deviations are what fauxqs 2.4.1 does otherwise than SQS, by its documentation.
// Nothing here relies on either.
var deviations = map[string]string{
	"a poll that its caller gave up": "it hands a message to a caller that has gone",
	"receipts that are none":         "it deletes whatever a receipt says",
}

// soon is far above what a call takes and far below a long poll.
const soon = 8 * time.Second

func contract(t *testing.T, base string, deviations map[string]string) {
	transport := &http.Transport{}
	client := sqs.NewFromConfig(settings(&http.Client{Transport: transport}), func(o *sqs.Options) { o.BaseEndpoint = &base })
	t.Cleanup(transport.CloseIdleConnections)
	for name, check := range map[string]func(*side){
		"a queue that is not there":               noQueue,
		"a message is received once and deleted":  receivedOnce,
		"a long poll":                             longPolls,
		"a poll that its caller gave up":          abandonedPoll,
		"visibility":                              visibility,
		"visibility passes":                       visibilityPasses,
		"dead letters":                            deadLetters,
		"receipts that are none":                  wrongReceipts,
		"batches":                                 batches,
		"ten at a time":                           tenAtATime,
		"hints, from sender to receiver and back": hintsGoThrough,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if why := deviations[name]; why != "" {
				t.Skip(why)
			}
			check(&side{T: t, Client: client, base: base})
		})
	}
}

func settings(client aws.HTTPClient) aws.Config {
	return aws.Config{
		Region: "us-east-1", HTTPClient: client,
		Credentials: aws.CredentialsProviderFunc(func(context.Context) (aws.Credentials, error) {
			return aws.Credentials{AccessKeyID: "AKIDEXAMPLE", SecretAccessKey: "example"}, nil
		}),
	}
}

// side is a test's view of the server.
type side struct {
	*testing.T
	*sqs.Client
	base string
}

func must[T any](s *side) func(T, error) T {
	return func(value T, err error) T {
		s.Helper()
		if err != nil {
			s.Fatal(err)
		}
		return value
	}
}

// make creates a queue with dead letters after two receives.
func (s *side) make() (url, letters string) {
	s.Helper()
	return s.makeWith(2)
}

func (s *side) makeWith(maxReceives int) (url, letters string) {
	s.Helper()
	name := "contract-" + strings.ToLower(rand.Text())
	letters = s.create(name+"-dead", nil)
	arn := s.attribute(letters, types.QueueAttributeNameQueueArn)
	return s.create(name, map[string]string{
		"VisibilityTimeout": "30", "RedrivePolicy": fmt.Sprintf(`{"deadLetterTargetArn":%q,"maxReceiveCount":"%d"}`, arn, maxReceives),
	}), letters
}

func (s *side) create(name string, attributes map[string]string) (url string) {
	s.Helper()
	made := must[*sqs.CreateQueueOutput](s)(s.CreateQueue(s.Context(), &sqs.CreateQueueInput{QueueName: &name, Attributes: attributes}))
	found := must[*sqs.GetQueueUrlOutput](s)(s.GetQueueUrl(s.Context(), &sqs.GetQueueUrlInput{QueueName: &name}))
	if *made.QueueUrl != *found.QueueUrl {
		s.Errorf("made %s, found %s", *made.QueueUrl, *found.QueueUrl)
	}
	return *made.QueueUrl
}

func (s *side) attribute(url string, name types.QueueAttributeName) string {
	s.Helper()
	out := must[*sqs.GetQueueAttributesOutput](s)(s.GetQueueAttributes(s.Context(), &sqs.GetQueueAttributesInput{QueueUrl: &url, AttributeNames: []types.QueueAttributeName{name}}))
	if len(out.Attributes) != 1 || out.Attributes[string(name)] == "" {
		s.Fatalf("attributes %v, want %s", out.Attributes, name)
	}
	return out.Attributes[string(name)]
}

// wantCounts compares what is visible and what is hidden.
func (s *side) wantCounts(url string, visible, hidden int) {
	s.Helper()
	got := [2]string{s.attribute(url, types.QueueAttributeNameApproximateNumberOfMessages), s.attribute(url, types.QueueAttributeNameApproximateNumberOfMessagesNotVisible)}
	if want := [2]string{strconv.Itoa(visible), strconv.Itoa(hidden)}; got != want {
		s.Errorf("visible and hidden are %v, want %v", got, want)
	}
}

func (s *side) send(url string, bodies ...string) {
	s.Helper()
	for _, body := range bodies {
		out := must[*sqs.SendMessageOutput](s)(s.SendMessage(s.Context(), &sqs.SendMessageInput{QueueUrl: &url, MessageBody: &body}))
		if aws.ToString(out.MD5OfMessageBody) == "" || aws.ToString(out.MessageId) == "" { // the SDK checks the sum that is there
			s.Errorf("an answer without a checksum or an id: %+v", out)
		}
	}
}

// receive polls for some seconds; 0 is a short poll.
func (s *side) receive(url string, seconds int32) []types.Message {
	s.Helper()
	out := must[*sqs.ReceiveMessageOutput](s)(s.ReceiveMessage(s.Context(), &sqs.ReceiveMessageInput{
		QueueUrl: &url, MaxNumberOfMessages: 10, WaitTimeSeconds: seconds,
		MessageSystemAttributeNames: []types.MessageSystemAttributeName{types.MessageSystemAttributeNameApproximateReceiveCount},
	}))
	return out.Messages
}

// one receives the one message that there must be, the nth time.
func (s *side) one(url, body, times string) types.Message {
	s.Helper()
	got := s.receive(url, 5)
	if len(got) != 1 || aws.ToString(got[0].Body) != body || got[0].Attributes["ApproximateReceiveCount"] != times || aws.ToString(got[0].MD5OfBody) == "" {
		s.Fatalf("received %+v, want %s received %s times", got, body, times)
	}
	return got[0]
}

func (s *side) none(url string) {
	s.Helper()
	if got := s.receive(url, 0); len(got) != 0 {
		s.Errorf("received %+v", got)
	}
}

func (s *side) remove(url string, m types.Message) {
	s.Helper()
	must[*sqs.DeleteMessageOutput](s)(s.DeleteMessage(s.Context(), &sqs.DeleteMessageInput{QueueUrl: &url, ReceiptHandle: m.ReceiptHandle}))
}

func (s *side) show(url string, m types.Message) {
	s.Helper()
	must[*sqs.ChangeMessageVisibilityOutput](s)(s.ChangeMessageVisibility(s.Context(), &sqs.ChangeMessageVisibilityInput{QueueUrl: &url, ReceiptHandle: m.ReceiptHandle, VisibilityTimeout: 0}))
}

// wantCode checks an error by its type and by its code.
func wantCode[E error](s *side, what string, err error) {
	s.Helper()
	var typed E
	if !errors.As(err, &typed) {
		s.Errorf("%s: %v, want %T", what, err, typed)
	}
}

func noQueue(s *side) {
	url := s.create("contract-"+strings.ToLower(rand.Text()), nil) + "-not"
	_, err := s.GetQueueUrl(s.Context(), &sqs.GetQueueUrlInput{QueueName: aws.String("contract-not-there")})
	wantCode[*types.QueueDoesNotExist](s, "its URL", err)
	_, err = s.SendMessage(s.Context(), &sqs.SendMessageInput{QueueUrl: &url, MessageBody: aws.String("x")})
	wantCode[*types.QueueDoesNotExist](s, "send", err)
	_, err = s.ReceiveMessage(s.Context(), &sqs.ReceiveMessageInput{QueueUrl: &url})
	wantCode[*types.QueueDoesNotExist](s, "receive", err)
}

func receivedOnce(s *side) {
	url, _ := s.make()
	const body = `{"a":"ü <&> \"\\"}`
	s.send(url, body)
	s.wantCounts(url, 1, 0)
	got := s.one(url, body, "1")
	s.wantCounts(url, 0, 1)
	s.none(url)
	s.remove(url, got)
	s.wantCounts(url, 0, 0)
	s.remove(url, got) // gone is gone
	s.none(url)
}

func longPolls(s *side) {
	url, _ := s.make()
	began := time.Now()
	s.none(url)
	if took := time.Since(began); took > soon {
		s.Errorf("a short poll took %v", took)
	}
	began = time.Now()
	if got := s.receive(url, 1); len(got) != 0 || time.Since(began) < 900*time.Millisecond {
		s.Errorf("a poll of 1 s of an empty queue: %v after %v", got, time.Since(began))
	}
	received := make(chan []types.Message, 1)
	go func() {
		out, err := s.ReceiveMessage(s.Context(), &sqs.ReceiveMessageInput{QueueUrl: &url, WaitTimeSeconds: 20})
		if err != nil {
			s.Error(err)
		}
		received <- out.Messages
	}()
	time.Sleep(200 * time.Millisecond) // lets the poll begin; if it does not, the test proves less
	began = time.Now()
	s.send(url, "x")
	if got := <-received; len(got) != 1 || time.Since(began) > soon {
		s.Errorf("%d messages after %v of a poll of 20 s", len(got), time.Since(began))
	}
}

// abandonedPoll: a call whose caller has gone takes no message with it.
func abandonedPoll(s *side) {
	url, _ := s.make()
	ctx, cancel := context.WithTimeout(s.Context(), 200*time.Millisecond)
	defer cancel()
	if _, err := s.ReceiveMessage(ctx, &sqs.ReceiveMessageInput{QueueUrl: &url, WaitTimeSeconds: 20}); !errors.Is(err, context.DeadlineExceeded) {
		s.Errorf("given up: %v", err)
	}
	time.Sleep(200 * time.Millisecond) // lets the server hear of it, as nothing else tells
	s.send(url, "x")
	s.one(url, "x", "1")
}

func visibility(s *side) {
	url, _ := s.make()
	s.send(url, "x")
	first := s.one(url, "x", "1")
	s.show(url, first)
	s.wantCounts(url, 1, 0)
	second := s.one(url, "x", "2")
	if *second.ReceiptHandle == *first.ReceiptHandle {
		s.Error("two receives have one receipt")
	}
	s.remove(url, second)
	s.none(url)
}

func visibilityPasses(s *side) {
	url, _ := s.make()
	s.send(url, "x")
	out := must[*sqs.ReceiveMessageOutput](s)(s.ReceiveMessage(s.Context(), &sqs.ReceiveMessageInput{QueueUrl: &url, VisibilityTimeout: 1}))
	if len(out.Messages) != 1 {
		s.Fatalf("%+v", out)
	}
	began := time.Now()
	if got := s.receive(url, 20); len(got) != 1 || time.Since(began) > soon {
		s.Errorf("%d messages after %v", len(got), time.Since(began))
	}
}

func deadLetters(s *side) {
	url, letters := s.make()
	s.send(url, "poison", "fine")
	for range 2 {
		for _, m := range s.receive(url, 5) {
			if *m.Body == "fine" {
				s.remove(url, m)
				continue
			}
			s.show(url, m)
		}
	}
	s.none(url)
	s.one(letters, "poison", s.letterCount(letters))
	s.wantCounts(url, 0, 0)
}

// letterCount is how often a letter says it was received: SQS goes on counting,
// some emulators begin anew.
func (s *side) letterCount(letters string) string {
	s.Helper()
	out := must[*sqs.ReceiveMessageOutput](s)(s.ReceiveMessage(s.Context(), &sqs.ReceiveMessageInput{
		QueueUrl: &letters, WaitTimeSeconds: 5,
		MessageSystemAttributeNames: []types.MessageSystemAttributeName{types.MessageSystemAttributeNameApproximateReceiveCount},
	}))
	if len(out.Messages) != 1 {
		s.Fatalf("%d dead letters", len(out.Messages))
	}
	s.show(letters, out.Messages[0])
	n, err := strconv.Atoi(out.Messages[0].Attributes["ApproximateReceiveCount"])
	if err != nil {
		s.Fatal(err)
	}
	return strconv.Itoa(n + 1)
}

func wrongReceipts(s *side) {
	url, _ := s.make()
	_, err := s.DeleteMessage(s.Context(), &sqs.DeleteMessageInput{QueueUrl: &url, ReceiptHandle: aws.String("nonsense")})
	wantCode[*types.ReceiptHandleIsInvalid](s, "delete", err)
	_, err = s.ChangeMessageVisibility(s.Context(), &sqs.ChangeMessageVisibilityInput{QueueUrl: &url, ReceiptHandle: aws.String("nonsense")})
	wantCode[*types.ReceiptHandleIsInvalid](s, "visibility", err)

	s.send(url, "x")
	m := s.one(url, "x", "1")
	out := must[*sqs.DeleteMessageBatchOutput](s)(s.DeleteMessageBatch(s.Context(), &sqs.DeleteMessageBatchInput{QueueUrl: &url, Entries: []types.DeleteMessageBatchRequestEntry{
		{Id: aws.String("bad"), ReceiptHandle: aws.String("nonsense")}, {Id: aws.String("good"), ReceiptHandle: m.ReceiptHandle},
	}}))
	if len(out.Failed) != 1 || *out.Failed[0].Id != "bad" || *out.Failed[0].Code != "ReceiptHandleIsInvalid" || len(out.Successful) != 1 || *out.Successful[0].Id != "good" {
		s.Errorf("%+v", out)
	}
	s.wantCounts(url, 0, 0)
}

func batches(s *side) {
	url, _ := s.make()
	s.send(url, "x")
	handle := s.one(url, "x", "1").ReceiptHandle
	removes := func(ids ...string) (*sqs.DeleteMessageBatchOutput, error) {
		entries := []types.DeleteMessageBatchRequestEntry{}
		for _, id := range ids {
			entries = append(entries, types.DeleteMessageBatchRequestEntry{Id: &id, ReceiptHandle: handle})
		}
		return s.DeleteMessageBatch(s.Context(), &sqs.DeleteMessageBatchInput{QueueUrl: &url, Entries: entries})
	}
	_, err := removes()
	wantCode[*types.EmptyBatchRequest](s, "nothing", err)
	_, err = removes("0", "1", "2", "3", "4", "5", "6", "7", "8", "9", "10")
	wantCode[*types.TooManyEntriesInBatchRequest](s, "eleven", err)
	_, err = removes("a", "a")
	wantCode[*types.BatchEntryIdsNotDistinct](s, "twice", err)
	s.wantCounts(url, 0, 1)
	out := must[*sqs.ChangeMessageVisibilityBatchOutput](s)(s.ChangeMessageVisibilityBatch(s.Context(), &sqs.ChangeMessageVisibilityBatchInput{QueueUrl: &url, Entries: []types.ChangeMessageVisibilityBatchRequestEntry{
		{Id: aws.String("a"), ReceiptHandle: handle, VisibilityTimeout: 0},
	}}))
	if len(out.Failed) != 0 || len(out.Successful) != 1 {
		s.Errorf("%+v", out)
	}
	handle = s.one(url, "x", "2").ReceiptHandle
	if out := must[*sqs.DeleteMessageBatchOutput](s)(removes("a")); len(out.Failed) != 0 || len(out.Successful) != 1 {
		s.Errorf("%+v", out)
	}
	s.wantCounts(url, 0, 0)
}

func tenAtATime(s *side) {
	url, _ := s.make()
	var sent, got []string
	for i := range 12 {
		sent = append(sent, fmt.Sprintf("m%02d", i))
	}
	s.send(url, sent...)
	for range 12 { // SQS may hand out fewer than it has
		messages := s.receive(url, 1)
		if len(messages) > 10 {
			s.Errorf("%d messages at once", len(messages))
		}
		for _, m := range messages {
			got = append(got, *m.Body)
		}
		if len(got) == len(sent) {
			break
		}
	}
	if slices.Sort(got); !slices.Equal(got, sent) {
		s.Errorf("received %q", got)
	}
	if _, err := s.ReceiveMessage(s.Context(), &sqs.ReceiveMessageInput{QueueUrl: &url, MaxNumberOfMessages: 11}); err == nil {
		s.Error("eleven at a time are no mistake")
	}
}
