package fakesqs

import (
	"cmp"
	"crypto/md5" // #nosec G501 -- the protocol's checksum
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/http"
	"path"
	"strconv"
	"time"
)

// Bounds of SQS.
const (
	maxBatch   = 10
	maxWait    = 20 * time.Second
	maxVisible = 12 * time.Hour
	maxBody    = 1 << 20 // bytes
)

// call is one request.
type call struct {
	server *Server
	r      *http.Request
	now    time.Time
	asked  request
}

// request is what requests have between them.
type request struct {
	QueueName           string            `json:"QueueName"`
	QueueURL            string            `json:"QueueUrl"`
	Attributes          map[string]string `json:"Attributes"`
	AttributeNames      []string          `json:"AttributeNames"`
	SystemNames         []string          `json:"MessageSystemAttributeNames"`
	MessageBody         string            `json:"MessageBody"`
	MaxNumberOfMessages *int              `json:"MaxNumberOfMessages"`
	WaitTimeSeconds     int               `json:"WaitTimeSeconds"`
	Entries             []entry           `json:"Entries"`
	entry
}

// entry is one of a batch.
type entry struct {
	ID                string `json:"Id"`
	ReceiptHandle     string `json:"ReceiptHandle"`
	VisibilityTimeout *int   `json:"VisibilityTimeout"` // seconds
}

var operations = map[string]func(*call) (any, *failure){
	"CreateQueue":                  (*call).createQueue,
	"GetQueueUrl":                  (*call).queueURL,
	"GetQueueAttributes":           (*call).attributes,
	"SendMessage":                  (*call).send,
	"ReceiveMessage":               (*call).receive,
	"DeleteMessage":                (*call).remove,
	"DeleteMessageBatch":           (*call).removeBatch,
	"ChangeMessageVisibility":      (*call).hide,
	"ChangeMessageVisibilityBatch": (*call).hideBatch,
}

type object map[string]any

func invalid(code, format string, args ...any) *failure {
	return &failure{http.StatusBadRequest, code, fmt.Sprintf(format, args...)}
}

var errNoQueue = invalid("QueueDoesNotExist", "The specified queue does not exist.")

// queue is the one that the request names.
func (c *call) queue() (*Queue, *failure) {
	c.server.mu.Lock()
	defer c.server.mu.Unlock()
	if found := c.server.queues[path.Base(c.asked.QueueURL)]; found != nil {
		return found, nil
	}
	return nil, errNoQueue
}

func (c *call) url(name string) string {
	scheme := "http://"
	if c.r.TLS != nil {
		scheme = "https://"
	}
	return URL(scheme+cmp.Or(c.r.Host, c.r.URL.Host), name)
}

func arn(name string) string { return "arn:aws:sqs:eu-central-1:" + account + ":" + name }

func (c *call) createQueue() (any, *failure) {
	settings := Settings{}
	if text, ok := c.asked.Attributes["VisibilityTimeout"]; ok {
		seconds, err := strconv.Atoi(text)
		if err != nil {
			return nil, invalid("InvalidAttributeValue", "VisibilityTimeout")
		}
		settings.Visibility = time.Duration(seconds) * time.Second
	}
	if text, ok := c.asked.Attributes["RedrivePolicy"]; ok {
		var policy struct {
			Target string      `json:"deadLetterTargetArn"`
			Max    json.Number `json:"maxReceiveCount"` // a number, or a string of one
		}
		err := json.Unmarshal([]byte(text), &policy)
		receives, notNumber := policy.Max.Int64()
		if err != nil || notNumber != nil || receives < 1 || policy.Target == "" {
			return nil, invalid("InvalidAttributeValue", "RedrivePolicy")
		}
		settings.DeadLetters, settings.MaxReceives = lastPart(policy.Target), int(receives)
	}
	if c.asked.QueueName == "" {
		return nil, invalid("InvalidParameterValue", "QueueName")
	}
	c.server.Queue(c.asked.QueueName, settings)
	return object{"QueueUrl": c.url(c.asked.QueueName)}, nil
}

// lastPart is the queue's name in its ARN.
func lastPart(arn string) string {
	for i := len(arn) - 1; i >= 0; i-- {
		if arn[i] == ':' {
			return arn[i+1:]
		}
	}
	return arn
}

func (c *call) queueURL() (any, *failure) {
	c.server.mu.Lock()
	defer c.server.mu.Unlock()
	if c.server.queues[c.asked.QueueName] == nil {
		return nil, errNoQueue
	}
	return object{"QueueUrl": c.url(c.asked.QueueName)}, nil
}

func (c *call) attributes() (any, *failure) {
	q, failed := c.queue()
	if failed != nil {
		return nil, failed
	}
	c.server.mu.Lock()
	defer c.server.mu.Unlock()
	visible, hidden := q.count(c.now)
	all := map[string]string{
		"QueueArn": arn(q.name), "VisibilityTimeout": strconv.Itoa(int(q.settings.Visibility.Seconds())),
		"ApproximateNumberOfMessages": strconv.Itoa(visible), "ApproximateNumberOfMessagesNotVisible": strconv.Itoa(hidden),
	}
	if q.settings.DeadLetters != "" {
		policy, _ := json.Marshal(object{"deadLetterTargetArn": arn(q.settings.DeadLetters), "maxReceiveCount": q.settings.MaxReceives})
		all["RedrivePolicy"] = string(policy)
	}
	return object{"Attributes": pick(all, c.asked.AttributeNames)}, nil
}

// pick returns what was asked for by name, or by "All".
func pick(all map[string]string, names []string) map[string]string {
	picked := map[string]string{}
	for _, name := range names {
		if name == "All" {
			return all
		}
		if value, ok := all[name]; ok {
			picked[name] = value
		}
	}
	return picked
}

func (c *call) send() (any, *failure) {
	q, failed := c.queue()
	switch {
	case failed != nil:
		return nil, failed
	case c.asked.MessageBody == "" || len(c.asked.MessageBody) > maxBody:
		return nil, invalid("InvalidParameterValue", "MessageBody has %d bytes", len(c.asked.MessageBody))
	}
	m := &message{id: newID(), body: c.asked.MessageBody, sent: c.now}
	c.server.mu.Lock()
	defer c.server.mu.Unlock()
	q.put(m)
	return object{"MessageId": m.id, "MD5OfMessageBody": sum(m.body)}, nil
}

func sum(body string) string {
	digest := md5.Sum([]byte(body)) // #nosec G401 -- the protocol's checksum
	return hex.EncodeToString(digest[:])
}

// receive waits for a message as long as was asked, and no longer than the
// caller.
func (c *call) receive() (any, *failure) {
	q, failed := c.queue()
	if failed != nil {
		return nil, failed
	}
	n, visibility, wait := 1, q.settings.Visibility, time.Duration(c.asked.WaitTimeSeconds)*time.Second
	if c.asked.MaxNumberOfMessages != nil {
		n = *c.asked.MaxNumberOfMessages
	}
	if c.asked.VisibilityTimeout != nil {
		visibility = time.Duration(*c.asked.VisibilityTimeout) * time.Second
	}
	if n < 1 || n > maxBatch || wait < 0 || wait > maxWait || visibility < 0 || visibility > maxVisible {
		return nil, invalid("InvalidParameterValue", "MaxNumberOfMessages %d, WaitTimeSeconds %d", n, c.asked.WaitTimeSeconds)
	}
	messages := c.poll(q, n, visibility, c.now.Add(wait))
	if len(messages) == 0 {
		return object{}, nil
	}
	return object{"Messages": messages}, nil
}

func (c *call) poll(q *Queue, n int, visibility time.Duration, until time.Time) []object {
	s := c.server
	s.mu.Lock()
	defer s.mu.Unlock()
	q.polls++
	defer func() { q.polls-- }()
	for c.r.Context().Err() == nil {
		now := time.Now()
		if taken := q.take(now, n, visibility); len(taken) > 0 || !now.Before(until) {
			return c.shown(taken)
		}
		next := until
		if shows := q.nextVisible(now); !shows.IsZero() && shows.Before(until) {
			next = shows
		}
		wake := q.wake
		s.mu.Unlock()
		timer := time.NewTimer(next.Sub(now))
		select {
		case <-wake:
		case <-timer.C:
		case <-c.r.Context().Done():
		}
		timer.Stop()
		s.mu.Lock()
	}
	return nil
}

func (c *call) shown(taken []*message) []object {
	shown := make([]object, len(taken))
	for i, m := range taken {
		shown[i] = object{"MessageId": m.id, "ReceiptHandle": m.handle, "Body": m.body, "MD5OfBody": sum(m.body)}
		if attributes := pick(map[string]string{
			"ApproximateReceiveCount": strconv.Itoa(m.receives), "SenderId": account,
			"SentTimestamp": milliseconds(m.sent), "ApproximateFirstReceiveTimestamp": milliseconds(m.first),
		}, append(c.asked.SystemNames, c.asked.AttributeNames...)); len(attributes) > 0 {
			shown[i]["Attributes"] = attributes
		}
	}
	return shown
}

func milliseconds(t time.Time) string { return strconv.FormatInt(t.UnixMilli(), 10) }

func (c *call) remove() (any, *failure) { return c.one(deleteMessage) }

func (c *call) removeBatch() (any, *failure) { return c.batch(deleteMessage) }

func (c *call) hide() (any, *failure) { return c.one(changeVisibility) }

func (c *call) hideBatch() (any, *failure) { return c.batch(changeVisibility) }

func (c *call) one(do func(*Queue, entry, time.Time) *failure) (any, *failure) {
	q, failed := c.queue()
	if failed != nil {
		return nil, failed
	}
	c.server.mu.Lock()
	defer c.server.mu.Unlock()
	return object{}, do(q, c.asked.entry, c.now)
}

func (c *call) batch(do func(*Queue, entry, time.Time) *failure) (any, *failure) {
	q, failed := c.queue()
	switch n := len(c.asked.Entries); {
	case failed != nil:
		return nil, failed
	case n == 0:
		return nil, invalid("EmptyBatchRequest", "There should be at least one entry in the request.")
	case n > maxBatch:
		return nil, invalid("TooManyEntriesInBatchRequest", "Maximum number of entries per request are 10.")
	}
	c.server.mu.Lock()
	defer c.server.mu.Unlock()
	seen := map[string]bool{}
	for _, e := range c.asked.Entries {
		if seen[e.ID] {
			return nil, invalid("BatchEntryIdsNotDistinct", "Id %s repeated.", e.ID)
		}
		seen[e.ID] = true
	}
	done, refused := []object{}, []object{}
	for _, e := range c.asked.Entries {
		if failed := do(q, e, c.now); failed != nil {
			refused = append(refused, object{"Id": e.ID, "SenderFault": true, "Code": failed.code, "Message": failed.message})
			continue
		}
		done = append(done, object{"Id": e.ID})
	}
	return object{"Successful": done, "Failed": refused}, nil
}

var errHandle = invalid("ReceiptHandleIsInvalid", "The input receipt handle is invalid.")

// deleteMessage succeeds where the message is gone already, and without effect
// where it was received again meanwhile: SQS promises no more for an old handle.
func deleteMessage(q *Queue, e entry, _ time.Time) *failure {
	m, valid := q.find(e.ReceiptHandle)
	if !valid {
		return errHandle
	}
	if m != nil && m.handle == e.ReceiptHandle {
		q.remove(m)
	}
	return nil
}

func changeVisibility(q *Queue, e entry, now time.Time) *failure {
	m, valid := q.find(e.ReceiptHandle)
	switch {
	case !valid:
		return errHandle
	case e.VisibilityTimeout == nil || *e.VisibilityTimeout < 0 || time.Duration(*e.VisibilityTimeout)*time.Second > maxVisible:
		return invalid("InvalidParameterValue", "VisibilityTimeout")
	case m == nil:
		return invalid("InvalidParameterValue", "Message does not exist or is not available for visibility timeout change.")
	case !m.hidden.After(now):
		return invalid("MessageNotInflight", "The message is not in flight.")
	}
	m.hidden = now.Add(time.Duration(*e.VisibilityTimeout) * time.Second)
	q.wakeAll()
	return nil
}
