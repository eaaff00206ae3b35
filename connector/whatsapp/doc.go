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
package whatsapp
