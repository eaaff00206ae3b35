// Package whatsapp runs the whatsmeow client for one session at a time and
// hides it: what goes in are a claim's identifiers and config, what comes out
// are connections and plain events.
//
// It owns the process globals of whatsmeow (globals.go), the way to WhatsApp
// (endpoint.go, transport.go), the databases that devices live in
// (devices.go), and the client version (version.go). It does not own when to
// connect, when to give up, or what a session's state is: that is the runner's.
//
// # One connection, one client
//
// A [Conn] is one whatsmeow.Client with one socket and one life. whatsmeow's
// own reconnection is off; the next connection is a new client on a freshly
// loaded device. So an event always belongs to the connection that the caller
// is looking at, nothing of an old socket lingers in a new one, and no field of
// a device is shared between goroutines of two connections.
//
// # Fences
//
// A term that has ended must not move a Signal ratchet or send a frame, also in
// a process that was frozen and thawed. Three things see to it: the context of
// the connection ends, every write of the device stores asks the term first
// (fence.go), and so does every write to the socket (socket.go).
//
// A write that has asked may still be under way when its term ends, waiting for
// a connection, for a lock or for the answer to its commit. The next holder must
// not load a session that such a write then overwrites. So all writes of a term
// pass one gate (gate.go), a transaction from its begin to its commit.
// [Device.Close] shuts it before the session is released: what comes later is
// refused, and what is inside is waited for.
//
//   - Most of it ends with its connection, whose context whatsmeow hands down.
//   - What whatsmeow detaches from that may finish, for eight seconds, and is
//     cancelled then.
//   - What does not end within two more is given up with an error, and the release
//     goes ahead. A transaction of ours does not commit any more; a single
//     statement may. Where the fleet took the term away, only these two seconds
//     are waited.
//
// The gate knows what the driver knows. What Postgres has and does not answer is
// the store's to end: by a timeout of the server that is shorter than the
// driver's, and by ending the connections of a connector that died.
//
// # Proxies
//
// What a session with a proxy dials is the proxy and nothing else: its socket,
// its media, and the client version where [Device.RefreshVersion] asks for it.
// Names are resolved by the proxy. Where that fails, so does the session
// (transport_proxy.go); proxies of the environment are for the others only.
//
// # Panics
//
// whatsmeow trusts what WhatsApp sends, and a panic in one of its goroutines
// would end the process with all its sessions. Where the stack has a place for
// it, there is a recover (contain.go); the caller hears event.Panicked and ends
// the connection. Contained are
//
//   - the handlers of all stanzas, by tag,
//   - the decoding of frames and the routing of answers to requests,
//   - the dial and the handshake,
//   - and, by whatsmeow itself, event handlers, the decryption of messages, retry
//     receipts and the history sync.
//
// The first two are reached through unexported fields. [New] refuses a version
// of whatsmeow that has others.
//
// Not contained are the goroutines that whatsmeow starts itself, where no call
// of ours is on the stack:
//
//   - those that handlers start: the notifications encrypt, server_sync,
//     account_sync, link_code_companion_reg and crsc_continuation, pair-success
//     after its attributes are read, the pre-keys and the passive mode after a
//     login, app state keys, acknowledgements, and what they wait for, such as the
//     patches of an app state;
//   - readPump, which cuts the byte stream into frames: one that is split over
//     two websocket messages, one or two bytes before its end, makes it panic;
//   - keepAliveLoop, handlerQueueLoop and the writer, which read nothing that
//     WhatsApp sent.
//
// A panic there is fatal. Every goroutine of a connection carries the session's
// id as a profiling label, so that the report of the crash names it; package
// guard reads that.
package whatsapp
