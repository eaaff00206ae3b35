package wasim

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"

	"go.mau.fi/libsignal/ecc"
	"go.mau.fi/libsignal/keys/identity"
	"go.mau.fi/libsignal/keys/prekey"
	"go.mau.fi/libsignal/protocol"
	"go.mau.fi/libsignal/session"
	"go.mau.fi/libsignal/util/optional"
	"go.mau.fi/whatsmeow/store"
	"go.mau.fi/whatsmeow/util/keys"
)

// recipient is the public half of a device's Signal state, as a pre-key bundle has it.
type recipient struct {
	device   uint32
	regID    uint32
	identity [32]byte
	signed   preKey
	oneTime  *preKey // nil if the device has none left
	address  *protocol.SignalAddress
}

// recipientLocked takes a bundle of the device, using up a one-time pre-key. Server.mu is held.
func (d *device) recipientLocked() recipient {
	to := recipient{
		device: uint32(d.index), identity: d.identity, signed: d.signed, address: d.jid().SignalAddress(),
	}
	if len(d.regID) == 4 {
		to.regID = binary.BigEndian.Uint32(d.regID)
	}
	if k, ok := d.takePreKeyLocked(); ok {
		to.oneTime = &k
	}
	return to
}

func (to recipient) bundle() (*prekey.Bundle, error) {
	if len(to.signed.id) != 3 || len(to.signed.value) != 32 || len(to.signed.signature) != 64 {
		return nil, errors.New("the device has no signed pre-key")
	}
	id := optional.NewEmptyUint32()
	var oneTime ecc.ECPublicKeyable
	if to.oneTime != nil {
		id = optional.NewOptionalUint32(uint24(to.oneTime.id))
		oneTime = ecc.NewDjbECPublicKey([32]byte(to.oneTime.value))
	}
	return prekey.NewBundle(to.regID, to.device, id, uint24(to.signed.id), oneTime,
		ecc.NewDjbECPublicKey([32]byte(to.signed.value)), [64]byte(to.signed.signature),
		identity.NewKey(ecc.NewDjbECPublicKey(to.identity))), nil
}

// sealSignal enciphers a message as the first one of a new Signal session (a pkmsg). The session is not kept: wasim
// reads no answers.
func sealSignal(from *keys.KeyPair, to recipient, plain []byte) ([]byte, error) {
	bundle, err := to.bundle()
	if err != nil {
		return nil, err
	}
	ctx := context.Background()
	mem := &oneSession{}
	dev := &store.Device{IdentityKey: from, RegistrationID: 1, Identities: mem, Sessions: mem}
	builder := session.NewBuilderFromSignal(dev, to.address, store.SignalProtobufSerializer)
	if err := builder.ProcessBundle(ctx, bundle); err != nil {
		return nil, err
	}
	sealed, err := session.NewCipher(builder, to.address).Encrypt(ctx, padded(plain))
	if err != nil {
		return nil, err
	}
	return sealed.Serialize(), nil
}

// padded appends 1 to 15 bytes that each hold their number, as WhatsApp does.
func padded(plain []byte) []byte {
	var r [1]byte
	_, _ = rand.Read(r[:])
	n := r[0]%15 + 1
	for range n {
		plain = append(plain, n)
	}
	return plain
}

// oneSession is the store of a sender that writes one message: one session, and trust in whom it is for.
type oneSession struct {
	store.NoopStore
	raw []byte
}

func (o *oneSession) GetSession(context.Context, string) ([]byte, error) { return o.raw, nil }

func (o *oneSession) HasSession(context.Context, string) (bool, error) { return o.raw != nil, nil }

func (o *oneSession) PutSession(_ context.Context, _ string, raw []byte) error {
	o.raw = raw
	return nil
}

func (o *oneSession) IsTrustedIdentity(context.Context, string, [32]byte) (bool, error) {
	return true, nil
}
