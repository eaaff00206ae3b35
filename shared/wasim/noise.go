package wasim

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"golang.org/x/crypto/curve25519"
	"google.golang.org/protobuf/proto"

	"go.mau.fi/whatsmeow/proto/waCert"
	"go.mau.fi/whatsmeow/proto/waWa6"
	"go.mau.fi/whatsmeow/socket"
	"go.mau.fi/whatsmeow/util/keys"
)

// noiseServer is the responder's long-lived half of the handshake: its static key and the certificate chain for it.
type noiseServer struct {
	root   *keys.KeyPair
	static *keys.KeyPair
	chain  []byte // marshalled waCert.CertChain
}

func newNoiseServer(s seed) (*noiseServer, error) {
	n := &noiseServer{root: s.keyPair("noise root"), static: s.keyPair("noise static")}
	middle := s.keyPair("noise intermediate")
	intermediate, err := noiseCertificate(n.root, 1, 0, middle.Pub[:])
	if err != nil {
		return nil, err
	}
	leaf, err := noiseCertificate(middle, 2, 1, n.static.Pub[:])
	if err != nil {
		return nil, err
	}
	n.chain, err = proto.Marshal(&waCert.CertChain{Intermediate: intermediate, Leaf: leaf})
	return n, err
}

func noiseCertificate(issuer *keys.KeyPair, serial, issuerSerial uint32, key []byte) (*waCert.CertChain_NoiseCertificate, error) {
	now := time.Now()
	details, err := proto.Marshal(&waCert.CertChain_NoiseCertificate_Details{
		Serial:       proto.Uint32(serial),
		IssuerSerial: proto.Uint32(issuerSerial),
		Key:          key,
		NotBefore:    proto.Uint64(uint64(now.Add(-certificateLife).Unix())), // #nosec G115 -- a time after 1970
		NotAfter:     proto.Uint64(uint64(now.Add(certificateLife).Unix())),  // #nosec G115 -- a time after 1970
	})
	if err != nil {
		return nil, fmt.Errorf("make noise certificate: %w", err)
	}
	return &waCert.CertChain_NoiseCertificate{Details: details, Signature: sign(issuer, details)}, nil
}

// handshake is the symmetric state of Noise_XX_25519_AESGCM_SHA256.
type handshake struct {
	hash, salt []byte
	key        cipher.AEAD
	counter    uint32
}

func newHandshake(header []byte) (*handshake, error) {
	h := &handshake{hash: []byte(socket.NoiseStartPattern), salt: []byte(socket.NoiseStartPattern)}
	var err error
	if h.key, err = newAEAD(h.hash); err != nil {
		return nil, err
	}
	h.absorb(header)
	return h, nil
}

func (h *handshake) absorb(data []byte) {
	sum := sha256.Sum256(joined(h.hash, data))
	h.hash = sum[:]
}

func (h *handshake) seal(plaintext []byte) []byte {
	out := h.key.Seal(nil, nonce(h.counter), plaintext, h.hash)
	h.counter++
	h.absorb(out)
	return out
}

func (h *handshake) open(ciphertext []byte) ([]byte, error) {
	out, err := h.key.Open(nil, nonce(h.counter), ciphertext, h.hash)
	if err != nil {
		return nil, err
	}
	h.counter++
	h.absorb(ciphertext)
	return out, nil
}

// mix folds the Diffie-Hellman secret of the two keys into the state.
func (h *handshake) mix(priv *keys.KeyPair, pub []byte) error {
	secret, err := curve25519.X25519(priv.Priv[:], pub)
	if err != nil {
		return err
	}
	salt, key, err := h.expand(secret)
	if err != nil {
		return err
	}
	h.salt, h.counter = salt, 0
	h.key, err = newAEAD(key)
	return err
}

func (h *handshake) expand(secret []byte) (first, second []byte, err error) {
	out, err := hkdf.Key(sha256.New, secret, h.salt, "", 64)
	if err != nil {
		return nil, nil, err
	}
	return out[:32], out[32:], nil
}

// hello consumes the client's first frame and returns the answer to it.
func (h *handshake) hello(n *noiseServer, ephemeral *keys.KeyPair, frame []byte) (answer, clientEphemeral []byte, err error) {
	var msg waWa6.HandshakeMessage
	if err := proto.Unmarshal(frame, &msg); err != nil {
		return nil, nil, fmt.Errorf("client hello: %w", err)
	}
	clientEphemeral = msg.GetClientHello().GetEphemeral()
	if len(clientEphemeral) != 32 {
		return nil, nil, errors.New("client hello: no ephemeral key")
	}
	h.absorb(clientEphemeral)
	h.absorb(ephemeral.Pub[:])
	if err := h.mix(ephemeral, clientEphemeral); err != nil {
		return nil, nil, fmt.Errorf("client hello: %w", err)
	}
	hello := &waWa6.HandshakeMessage_ServerHello{Ephemeral: ephemeral.Pub[:], Static: h.seal(n.static.Pub[:])}
	if err := h.mix(n.static, clientEphemeral); err != nil {
		return nil, nil, fmt.Errorf("client hello: %w", err)
	}
	hello.Payload = h.seal(n.chain)
	answer, err = proto.Marshal(&waWa6.HandshakeMessage{ServerHello: hello})
	return answer, clientEphemeral, err
}

// finish consumes the client's second frame: its static key, which is what identifies a device, and its payload.
func (h *handshake) finish(ephemeral *keys.KeyPair, frame []byte) (static [32]byte, payload *waWa6.ClientPayload, err error) {
	var msg waWa6.HandshakeMessage
	if err := proto.Unmarshal(frame, &msg); err != nil {
		return static, nil, fmt.Errorf("client finish: %w", err)
	}
	pub, err := h.open(msg.GetClientFinish().GetStatic())
	if err != nil {
		return static, nil, fmt.Errorf("client finish: static key: %w", err)
	} else if len(pub) != 32 {
		return static, nil, fmt.Errorf("client finish: static key of %d bytes", len(pub))
	}
	if err := h.mix(ephemeral, pub); err != nil {
		return static, nil, fmt.Errorf("client finish: %w", err)
	}
	raw, err := h.open(msg.GetClientFinish().GetPayload())
	if err != nil {
		return static, nil, fmt.Errorf("client finish: payload: %w", err)
	}
	payload = new(waWa6.ClientPayload)
	if err := proto.Unmarshal(raw, payload); err != nil {
		return static, nil, fmt.Errorf("client finish: payload: %w", err)
	}
	return [32]byte(pub), payload, nil
}

// split ends the handshake: the first half deciphers what the client sends, the second enciphers what it gets.
func (h *handshake) split() (recv, send *counterAEAD, err error) {
	first, second, err := h.expand(nil)
	if err != nil {
		return nil, nil, err
	}
	in, err := newAEAD(first)
	if err != nil {
		return nil, nil, err
	}
	out, err := newAEAD(second)
	if err != nil {
		return nil, nil, err
	}
	return &counterAEAD{key: in}, &counterAEAD{key: out}, nil
}

// counterAEAD is one direction of an established connection. It is not safe for concurrent use.
type counterAEAD struct {
	key     cipher.AEAD
	counter uint32
}

func (c *counterAEAD) seal(dst, plaintext []byte) []byte {
	out := c.key.Seal(dst, nonce(c.counter), plaintext, nil)
	c.counter++
	return out
}

func (c *counterAEAD) open(ciphertext []byte) ([]byte, error) {
	out, err := c.key.Open(ciphertext[:0], nonce(c.counter), ciphertext, nil)
	c.counter++
	return out, err
}

func nonce(counter uint32) []byte {
	iv := make([]byte, 12)
	binary.BigEndian.PutUint32(iv[8:], counter)
	return iv
}

func newAEAD(key []byte) (cipher.AEAD, error) {
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, err
	}
	return cipher.NewGCM(block)
}
