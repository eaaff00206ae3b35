// Package secret keeps small secrets encrypted at rest: it seals what goes into
// a row and opens what comes out of it.
//
// It owns the choice of the cipher (AES-256-GCM of Tink, always with a key id in
// front), the format of sealed text, and where keys come from. It does not own
// what is sealed, nor the rows: those are the callers' and package store's.
// Nothing runs by itself, and no goroutine outlives a call.
//
// # Sealed text
//
//	version, 1 byte | what Tink makes: 0x01, key id (4 bytes), nonce (12), ciphertext, tag (16)
//
// The version and the caller's context are authenticated with it. The context
// names whose it is, such as a tenant: a row copied to another tenant does not
// open there.
//
// # Keys
//
// Either a file has the keyset ([OpenFile]), in the clear and for its owner only:
// one machine, or a secret that an orchestrator mounts. Or the fleet has one data
// keyset ([OverKMS]), which lies in the database, encrypted by a key of AWS KMS:
//
//	KMS key ── encrypts ──▶ data keyset (table data_key) ── encrypts ──▶ secrets
//
// The first to seal makes the data keyset; of several, the first writer wins, and
// all use what is stored. A process asks KMS once, when it first needs a key and
// never at its start. A failure is not remembered: the next use asks again. Who
// only opens never makes a keyset, and so needs no right to encrypt in KMS.
//
// # Rotation
//
// [Rotate] adds a key and makes it the one that seals; the older ones still open
// what they sealed. A process that meets a key id that it does not know reads the
// table again, and asks KMS only where that has changed. One that never meets any
// goes on sealing with the key it has until it starts anew. KMS encrypts at most
// 4096 bytes, which bounds the number of keys; see maxKeys.
package secret
