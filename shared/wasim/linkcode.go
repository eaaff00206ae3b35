package wasim

import (
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/pbkdf2"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"regexp"
	"strings"

	"golang.org/x/crypto/curve25519"

	waBinary "go.mau.fi/whatsmeow/binary"
	"go.mau.fi/whatsmeow/types"
	"go.mau.fi/whatsmeow/util/keys"
)

// Errors of LinkCode.
var (
	ErrBadCode   = errors.New("a pairing code has 8 characters of 1-9 and A-Z without I, O, U")
	ErrNoHello   = errors.New("no client asks for a pairing code for this number")
	ErrWrongCode = errors.New("wrong pairing code")
)

// linkIterations is the number of PBKDF2 rounds between a pairing code and its key.
const linkIterations = 131072

// linkAlphabet matches a pairing code without its dash.
var linkAlphabet = regexp.MustCompile(`^[1-9A-HJ-NP-Z]{8}$`)

// linkDisplay is what WhatsApp accepts as a companion's display name.
var linkDisplay = regexp.MustCompile(`^[^()]+ \([^()]+\)$`)

// linkHello is a client's companion_hello.
type linkHello struct {
	number  string
	ref     string
	wrapped []byte // 80 bytes: salt, iv, the companion's ephemeral key enciphered with the code
}

// linkFinish waits for the companion_finish that answers a primary_hello.
type linkFinish struct {
	ref    string
	answer chan linkBundle
}

type linkBundle struct {
	wrapped  []byte // salt 32, nonce 12, AES-GCM of the key bundle
	identity []byte
	iq       *waBinary.Node // to be answered with the verdict
	err      error
}

func (f *linkFinish) settle(b *linkBundle, err error) {
	if b == nil {
		b = &linkBundle{err: err}
	}
	select {
	case f.answer <- *b:
	default:
	}
}

// LinkCode lets the owner of a number type a pairing code into the phone. The dash and case do not matter. If no client
// has asked for a code for that number yet, it waits for one for PairTimeout and then fails with ErrNoHello.
//
// The code deciphers the client's ephemeral key, and any code deciphers to some key: that it was wrong shows only when
// the key bundle in the client's answer does not open. Then LinkCode returns ErrWrongCode, the client's request is
// answered with an error, and both may go on with another code, as at WhatsApp.
func (s *Server) LinkCode(number, code string) (jid string, err error) {
	return s.LinkCodeContext(s.ctx, number, code)
}

// LinkCodeContext is LinkCode with a context that can give up earlier than PairTimeout.
func (s *Server) LinkCodeContext(ctx context.Context, number, code string) (jid string, err error) {
	number, err = parseNumber(number)
	if err != nil {
		return "", err
	}
	code = strings.ToUpper(strings.NewReplacer("-", "", " ", "").Replace(code))
	if !linkAlphabet.MatchString(code) {
		return "", ErrBadCode
	}
	c, hello, err := s.awaitHello(ctx, number)
	if err != nil {
		return "", err
	}
	advSecret, err := s.exchange(ctx, c, hello, code)
	if err != nil {
		return "", err
	}
	return s.pair(ctx, c, number, advSecret)
}

// awaitHello returns the newest client that asks for a code for the number.
func (s *Server) awaitHello(ctx context.Context, number string) (*conn, *linkHello, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, s.PairTimeout, fmt.Errorf("%w (waited %v)", ErrNoHello, s.PairTimeout))
	defer cancel()
	for {
		s.mu.Lock()
		var newest *conn
		for c := range s.conns {
			if c.reg != nil && c.reg.hello != nil && c.reg.hello.number == number && (newest == nil || c.id > newest.id) {
				newest = c
			}
		}
		changed := s.changed
		if newest != nil {
			hello := newest.reg.hello
			s.mu.Unlock()
			return newest, hello, nil
		}
		s.mu.Unlock()
		select {
		case <-changed:
		case <-ctx.Done():
			return nil, nil, context.Cause(ctx)
		case <-s.ctx.Done():
			return nil, nil, ErrClosed
		}
	}
}

// exchange runs primary_hello and companion_finish and returns the adv secret that both sides derive.
func (s *Server) exchange(ctx context.Context, c *conn, hello *linkHello, code string) ([]byte, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, s.PairTimeout, ErrTimeout)
	defer cancel()
	companion, err := linkCrypt(code, hello.wrapped[:32], hello.wrapped[32:48], hello.wrapped[48:80])
	if err != nil {
		return nil, err
	}
	ephemeral, account := keys.NewKeyPair(), s.seed.account(hello.number)
	wrapped, err := wrapEphemeral(code, ephemeral)
	if err != nil {
		return nil, err
	}
	finish := &linkFinish{ref: hello.ref, answer: make(chan linkBundle, 1)}
	if err := s.setFinish(c, finish); err != nil {
		return nil, err
	}
	defer s.clearFinish(c, finish)
	c.push(primaryHello(c.nextID("link"), hello.ref, wrapped, account.Pub[:]))
	var bundle linkBundle
	select {
	case bundle = <-finish.answer:
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
	if bundle.err != nil {
		return nil, bundle.err
	}
	secret, err := openBundle(bundle, ephemeral, account, companion)
	if err != nil {
		c.push(iqError(bundle.iq, 400, "bad-request"))
		return nil, err
	}
	c.push(iqResult(bundle.iq))
	return secret, nil
}

func (s *Server) setFinish(c *conn, f *linkFinish) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if c.reg == nil {
		return ErrClientGone
	} else if c.reg.finish != nil {
		return ErrBusy
	}
	c.reg.finish = f
	return nil
}

func (s *Server) clearFinish(c *conn, f *linkFinish) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if c.reg != nil && c.reg.finish == f {
		c.reg.finish = nil
	}
}

// linkCrypt enciphers or deciphers (it is the same) 32 bytes with a pairing code.
func linkCrypt(code string, salt, iv, in []byte) ([]byte, error) {
	key, err := pbkdf2.Key(sha256.New, code, salt, linkIterations, 32)
	if err != nil {
		return nil, err
	}
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, err
	}
	out := make([]byte, len(in))
	cipher.NewCTR(block, iv).XORKeyStream(out, in)
	return out, nil
}

func wrapEphemeral(code string, key *keys.KeyPair) ([]byte, error) {
	head := make([]byte, 48)
	_, _ = rand.Read(head)
	sealed, err := linkCrypt(code, head[:32], head[32:], key.Pub[:])
	return append(head, sealed...), err
}

// openBundle opens the companion's key bundle (its identity, the phone's identity, 32 random bytes) and derives the
// adv secret.
func openBundle(b linkBundle, ephemeral, account *keys.KeyPair, companion []byte) ([]byte, error) {
	shared, err := curve25519.X25519(ephemeral.Priv[:], companion)
	if err != nil {
		return nil, ErrWrongCode // a garbled key may be a point of low order
	}
	if len(b.wrapped) < 44 || len(b.identity) != 32 {
		return nil, fmt.Errorf("%w: bad key bundle", ErrRejected)
	}
	key, err := hkdf.Key(sha256.New, shared, b.wrapped[:32], "link_code_pairing_key_bundle_encryption_key", 32)
	if err != nil {
		return nil, err
	}
	aead, err := newAEAD(key)
	if err != nil {
		return nil, err
	}
	plain, err := aead.Open(nil, b.wrapped[32:44], b.wrapped[44:], nil)
	if err != nil {
		return nil, ErrWrongCode
	}
	if len(plain) != 96 || string(plain[:32]) != string(b.identity) || string(plain[32:64]) != string(account.Pub[:]) {
		return nil, fmt.Errorf("%w: the key bundle holds other identities", ErrRejected)
	}
	identities, err := curve25519.X25519(account.Priv[:], plain[:32])
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrRejected, err)
	}
	return hkdf.Key(sha256.New, joined(shared, identities, plain[64:]), nil, "adv_secret", 32)
}

func primaryHello(id, ref string, wrapped, identity []byte) waBinary.Node {
	return waBinary.Node{
		Tag:   "notification",
		Attrs: waBinary.Attrs{"id": id, "from": types.ServerJID, "type": "link_code_companion_reg", "t": unixNow()},
		Content: []waBinary.Node{{
			Tag:   "link_code_companion_reg",
			Attrs: waBinary.Attrs{"stage": "primary_hello"},
			Content: []waBinary.Node{
				{Tag: "link_code_pairing_ref", Content: []byte(ref)},
				{Tag: "link_code_pairing_wrapped_primary_ephemeral_pub", Content: wrapped},
				{Tag: "primary_identity_pub", Content: identity},
			},
		}},
	}
}

// linkStage serves the client's half of the exchange: companion_hello and companion_finish.
func (s *Server) linkStage(c *conn, iq *waBinary.Node) {
	reg := iq.GetChildByTag("link_code_companion_reg")
	switch attrString(reg, "stage") {
	case "companion_hello":
		s.companionHello(c, iq, reg)
	case "companion_finish":
		s.companionFinish(c, iq, reg)
	default:
		c.push(iqError(iq, 400, "bad-request"))
	}
}

func (s *Server) companionHello(c *conn, iq *waBinary.Node, reg waBinary.Node) {
	number, err := parseNumber(attrString(reg, "jid"))
	wrapped := childBytes(reg, "link_code_pairing_wrapped_companion_ephemeral_pub")
	display := string(childBytes(reg, "companion_platform_display"))
	if err != nil || len(wrapped) != 80 || !linkDisplay.MatchString(display) {
		c.push(iqError(iq, 400, "bad-request"))
		return
	}
	hello := &linkHello{number: number, ref: newRef(), wrapped: wrapped}
	s.mu.Lock()
	if c.reg == nil {
		s.mu.Unlock()
		c.push(iqError(iq, 403, "forbidden"))
		return
	}
	c.reg.hello = hello
	s.mu.Unlock()
	result := iqResult(iq)
	result.Content = []waBinary.Node{{Tag: "link_code_companion_reg", Content: []waBinary.Node{
		{Tag: "link_code_pairing_ref", Content: []byte(hello.ref)},
	}}}
	c.push(result)
	s.record(Event{Kind: EventLinkHello, Conn: c.id, Detail: number}, nil)
	s.announce()
}

// announce wakes whoever waits for a change.
func (s *Server) announce() {
	s.mu.Lock()
	close(s.changed)
	s.changed = make(chan struct{})
	s.mu.Unlock()
}

func (s *Server) companionFinish(c *conn, iq *waBinary.Node, reg waBinary.Node) {
	s.mu.Lock()
	var finish *linkFinish
	if c.reg != nil {
		finish = c.reg.finish
	}
	s.mu.Unlock()
	if finish == nil || finish.ref != string(childBytes(reg, "link_code_pairing_ref")) {
		c.push(iqError(iq, 404, "item-not-found"))
		return
	}
	finish.settle(&linkBundle{
		wrapped:  childBytes(reg, "link_code_pairing_wrapped_key_bundle"),
		identity: childBytes(reg, "companion_identity_public"),
		iq:       iq,
	}, nil)
}
