// Package wasim simulates WhatsApp's side of the multi-device protocol, so that an unmodified whatsmeow client can
// pair, log in, be replaced, banned and logged out without a phone and without the internet.
//
// It speaks the real wire: TLS with a certificate authority of its own, a websocket on /ws/chat, the Noise XX handshake
// with WhatsApp's certificate chain, length-prefixed encrypted frames and binary nodes. A client is pointed at it by
// three things, all of which the server hands out: the address to dial (DialAddr), the CA to trust (CAPEM) and the
// public key at the root of the Noise certificates (RootKey).
//
// # Use
//
//	var s wasim.Server
//	if err := s.Start(); err != nil { ... }
//	defer s.Close()
//	jid, err := s.Scan("5511999999999", qr) // a simulated phone scans the QR code
//
// The zero value is ready. Knobs are fields and are read once, by Start. Everything that happens later is a method, and
// nearly every method has a route in ControlHandler with which another process does the same over HTTP.
//
// # One connection
//
//	TLS, upgrade -> Noise XX -> ClientPayload --+-- no username -> registering: pair-device refs, Scan or LinkCode,
//	                                            |                  pair-success, pair-device-sign, stream:error 515
//	                                            +-- username ----> login: failure NNN | success, then iq traffic
//
// A device is known by nothing but its Noise public key, as at WhatsApp. The goroutine that net/http gave the upgrade
// reads and handles frames in order; one more goroutine per connection writes its outbound queue. Both have ended when
// Close returns.
//
// # Overlaps
//
// The server is the oracle for "one device, two live sockets" (Stats.MaxSocketsPerDevice). When a device logs in while
// it already has logged-in sockets, the older ones are judged by this rule:
//
//  1. For OverlapGrace (150 ms) nothing happens. A socket that its client closes of its own accord in that time does not
//     count: its closing was under way.
//  2. Then the older socket is sent a websocket ping, which a running client's library answers by itself. Only a pong
//     that is read within a further OverlapGrace proves that the owner still ran after the newer login, and counts. The
//     socket of a frozen process sends nothing and does not count; nor does one that the simulator itself has silenced
//     or is closing.
//  3. Whatever the verdict, the older socket then gets stream:error conflict replaced and is closed after FinalDelay.
//
// The count of a login is 1 plus the older sockets so proven; the maximum is kept for ever. The simulated second owner
// of ConnectAs is no socket and never counts. So the count has no false alarms; on a machine so busy that a live owner
// takes longer than OverlapGrace to answer, it may miss an overlap. Stats.LateFrames counts the stanzas that an older
// socket still sent after it had been told.
//
// # What it leaves out
//
// Signal text messages (messages are acknowledged and dropped), groups, media, calls and history. The phone sends one
// Signal message only, the app state key share after pairing (appstate.go), which is where those would start.
//
// # Licences
//
// The package links whatsmeow (MPL-2.0) and libsignal (GPL-3.0).
package wasim
