// Package fakesqs is the far side of AWS SQS for tests and for people without
// an account: standard queues in memory over HTTP, as the SDK calls them (AWS
// JSON 1.0), and every trouble that they may have.
//
// It has what a queue of start hints needs and refuses all else: SendMessage,
// ReceiveMessage with long polls and visibility, DeleteMessage and
// ChangeMessageVisibility, one by one and in batches, CreateQueue, GetQueueUrl
// and GetQueueAttributes; MD5 sums, typed errors, and the move to a dead-letter
// queue of what was received too often. Messages come in the order in which they
// became visible; SQS promises none. A contract test over this package and over
// emulators keeps it honest.
//
// A [Server] is a [net/http.Handler], for a server of the test; its [Server.Do]
// is the client without a network, for tests whose time is not the world's. It
// has no goroutines of its own. The program in cmd/fakesqs serves it on loopback.
package fakesqs
