// Package startqueue carries hints of start jobs from the API to connectors by
// way of an AWS SQS queue: "this session wants a connector".
//
//	API ─ commit ─ Sender ──► SQS ──► Receiver ─ connector with free slots ─ claim
//
// It owns the message, both ends of the queue and what happens where the queue
// is slow, down or holds nonsense. It does not own start jobs: these are rows,
// and rows are the truth. A hint that is lost, late, doubled or out of order
// costs at most the time until the next poll of the connectors, a second. It is
// for fleets whose connectors cannot LISTEN, or as a second way beside it.
//
// # The message
//
//	{"session":"0190f5fe-7c00-7a00-8000-000000000001","generation":3}
//
// The generation is for people and logs. Who receives the message claims the
// session if its job is there, of whichever generation; if it is not, the
// session is held, stopped or gone, and the message is as good as handled.
//
// # Sending
//
// Under Lambda nothing runs after the answer, so a hint is sent within the
// request, after the commit: in [Budget] in all, whatever happens, and the
// request succeeds all the same. One second attempt fits in, for a kept-open
// connection that turns out to be closed. A queue that is down for long must not
// cost every request that long: after three failures in a row a breaker lets one
// hint in 1 to 30 s try, and drops the others at once. Failures are counted, and
// logged once a minute.
//
// # Receiving
//
// One long poll of 20 s after the other, while the connector has room and takes
// sessions in; a poll ends the moment it does not, because what it would receive
// then is hidden from the others for a while. An idle connector costs three
// calls a minute.
//
//	message                                           then
//	cannot be parsed                                  left: after a few receives SQS moves it to the dead letters
//	session claimed, held, stopped, unknown           deleted
//	session waits, but not for this connector         shown again at once, for another connector; at the third receive deleted
//	database out of reach                             the same
//
// A session that waits is not for this connector where it has no slot or no turn
// to connect, or more than its fair share of the fleet's sessions
// (store.ClaimNamedIfFree says why that counts here too). Who has let a message go
// pauses before it receives the next, so that the message does not come back to
// it; and a hint that three have let go is of no use any more, for by then the
// poll of whoever has room has found the job. So only nonsense becomes a dead
// letter, as long as the queue's maxReceiveCount is above three.
//
// # The queue
//
// A standard queue. A visibility timeout of 15 s is enough (a claim takes 5 s at
// most), and hints need not be kept for more than some minutes.
package startqueue
