package wasim

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"strconv"
	"time"

	waBinary "go.mau.fi/whatsmeow/binary"
	"go.mau.fi/whatsmeow/proto/waAdv"
	"go.mau.fi/whatsmeow/proto/waCompanionReg"
	"go.mau.fi/whatsmeow/proto/waWa6"
	"go.mau.fi/whatsmeow/types"
	"google.golang.org/protobuf/proto"
)

// Errors of Scan and LinkCode.
var (
	ErrRejected   = errors.New("the client refused the pairing")
	ErrBusy       = errors.New("another pairing of this client is under way")
	ErrClientGone = errors.New("the client's connection ended before it was paired")
	ErrTimeout    = errors.New("the client did not answer in time")
)

// registration is the state of an unpaired client. Guarded by Server.mu, except what register sets.
type registration struct {
	noise    [32]byte
	identity [32]byte
	regID    []byte
	signed   preKey
	platform string
	refs     []string
	timer    *time.Timer
	hello    *linkHello // the newest companion_hello
	finish   *linkFinish
	pending  *pairing
}

// pairing is a pair-success that waits for its pair-device-sign.
type pairing struct {
	iqID    string
	dev     *device
	details []byte   // marshalled ADVDeviceIdentity
	account [32]byte // the phone's identity key
	done    chan error
}

// register serves a client that is not paired: it gets RefCount refs and QRTimeout to have one of them scanned.
func (s *Server) register(c *conn, static [32]byte, payload *waWa6.ClientPayload) {
	s.mu.Lock()
	outdated := s.outdatedLocked(payload)
	s.mu.Unlock()
	if outdated {
		s.fail(c, nil, failure(ReasonClientOutdated), ReasonClientOutdated)
		return
	}
	reg, err := newRegistration(static, payload.GetDevicePairingData(), s.RefCount)
	if err != nil {
		s.Logger.Debug("bad registration", "conn", c.id, "err", err)
		s.fail(c, nil, failure(400), 400)
		return
	}
	content := make([]waBinary.Node, len(reg.refs))
	s.mu.Lock()
	for i, ref := range reg.refs {
		s.refs[ref] = c
		content[i] = waBinary.Node{Tag: "ref", Content: []byte(ref)}
	}
	reg.timer = time.AfterFunc(s.QRTimeout, func() { s.refsExpired(c) })
	c.reg, c.phase = reg, phaseRegistering
	malformed := s.takePoisonLocked(nil)
	s.mu.Unlock()
	s.record(Event{Kind: EventRegistration, Conn: c.id}, func(st *Stats) { st.Registrations++ })
	c.push(serverIQ(c.nextID("pair"), "md", waBinary.Node{Tag: "pair-device", Content: content}))
	c.pushMalformed(malformed)
}

func newRegistration(static [32]byte, data *waWa6.ClientPayload_DevicePairingRegistrationData, refs int) (*registration, error) {
	if len(data.GetEIdent()) != 32 || len(data.GetERegid()) != 4 || len(data.GetESkeyVal()) != 32 || len(data.GetESkeyID()) != 3 {
		return nil, errors.New("registration keys are missing or have the wrong size")
	}
	reg := &registration{
		noise: static, identity: [32]byte(data.GetEIdent()), regID: data.GetERegid(),
		signed: preKey{id: data.GetESkeyID(), value: data.GetESkeyVal(), signature: data.GetESkeySig()},
	}
	if !verified(reg.identity, reg.signed.signature, []byte{5}, reg.signed.value) {
		return nil, errors.New("signed pre-key does not verify")
	}
	var props waCompanionReg.DeviceProps
	if err := proto.Unmarshal(data.GetDeviceProps(), &props); err != nil {
		return nil, fmt.Errorf("device props: %w", err)
	}
	reg.platform = props.GetOs()
	for range refs {
		reg.refs = append(reg.refs, newRef())
	}
	return reg, nil
}

// newRef makes a QR ref in WhatsApp's shape, "2@..." of base64 text.
func newRef() string {
	var raw [48]byte
	_, _ = rand.Read(raw[:]) // never fails, see crypto/rand
	return "2@" + base64.StdEncoding.EncodeToString(raw[:])
}

// refsExpired ends a registration whose codes have run out.
func (s *Server) refsExpired(c *conn) {
	s.mu.Lock()
	late := c.phase != phaseRegistering || c.reg == nil || c.reg.pending != nil
	s.mu.Unlock()
	if late {
		return
	}
	s.record(Event{Kind: EventRefsExpired, Conn: c.id}, nil)
	s.spawn(func() { c.shut(DropClose, "QR refs ran out") })
}

// endRegistrationLocked undoes register when the connection ends. Server.mu is held.
func (s *Server) endRegistrationLocked(c *conn) {
	if c.reg == nil {
		return
	}
	c.reg.timer.Stop()
	for _, ref := range c.reg.refs {
		delete(s.refs, ref)
	}
	if c.reg.pending != nil {
		c.reg.pending.settle(ErrClientGone)
	}
	if c.reg.finish != nil {
		c.reg.finish.settle(nil, ErrClientGone)
	}
	c.reg = nil
}

// settle answers the caller of pair; only the first answer counts.
func (p *pairing) settle(err error) {
	select {
	case p.done <- err:
	default:
	}
}

// pair sends pair-success for a number to a registering client and waits for its signature.
func (s *Server) pair(ctx context.Context, c *conn, number string, advSecret []byte) (jid string, err error) {
	ctx, cancel := context.WithTimeoutCause(ctx, s.PairTimeout, ErrTimeout)
	defer cancel()
	p, err := s.startPairing(c, number)
	if err != nil {
		return "", err
	}
	success, err := s.pairSuccess(p, advSecret)
	if err != nil {
		return "", err
	}
	c.push(success)
	select {
	case err = <-p.done:
	case <-ctx.Done():
		err = context.Cause(ctx)
	}
	if err != nil {
		s.mu.Lock()
		if c.reg != nil && c.reg.pending == p {
			c.reg.pending = nil
		}
		s.mu.Unlock()
		return "", err
	}
	return p.dev.jid().String(), nil
}

// startPairing reserves a device number and marks the registration.
func (s *Server) startPairing(c *conn, number string) (*pairing, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	reg := c.reg
	if reg == nil || c.phase != phaseRegistering {
		return nil, ErrClientGone
	} else if reg.pending != nil {
		return nil, ErrBusy
	}
	index, err := s.nextIndexLocked(number)
	if err != nil {
		return nil, err
	}
	reg.pending = &pairing{
		iqID:    c.nextID("success"),
		account: *s.seed.account(number).Pub,
		done:    make(chan error, 1),
		dev: &device{
			number: number, index: index, noise: reg.noise, identity: reg.identity,
			regID: reg.regID, signed: reg.signed, platform: reg.platform, paired: time.Now(),
		},
	}
	return reg.pending, nil
}

// The prefixes of what phone and companion sign in a device identity.
var (
	accountSignaturePrefix = []byte{6, 0}
	deviceSignaturePrefix  = []byte{6, 1}
)

// pairSuccess is the stanza by which the phone vouches for the companion.
func (s *Server) pairSuccess(p *pairing, advSecret []byte) (node waBinary.Node, err error) {
	d := p.dev
	p.details, err = proto.Marshal(&waAdv.ADVDeviceIdentity{
		RawID:     proto.Uint32(uint32(d.index) + 1),
		Timestamp: proto.Uint64(uint64(d.paired.Unix())), // #nosec G115 -- a time after 1970
		KeyIndex:  proto.Uint32(uint32(d.index)),
	})
	if err != nil {
		return node, err
	}
	signed, err := proto.Marshal(&waAdv.ADVSignedDeviceIdentity{
		Details:             p.details,
		AccountSignatureKey: p.account[:],
		AccountSignature:    sign(s.seed.account(d.number), accountSignaturePrefix, p.details, d.identity[:]),
	})
	if err != nil {
		return node, err
	}
	container, err := proto.Marshal(&waAdv.ADVSignedDeviceIdentityHMAC{Details: signed, HMAC: hmacSHA256(advSecret, signed)})
	if err != nil {
		return node, err
	}
	iq := serverIQ(p.iqID, "md", waBinary.Node{Tag: "pair-success", Content: []waBinary.Node{
		{Tag: "device-identity", Content: container},
		{Tag: "device", Attrs: waBinary.Attrs{"jid": d.jid(), "lid": d.lid()}},
		{Tag: "platform", Attrs: waBinary.Attrs{"name": "android"}},
	}})
	iq.Attrs["t"] = unixNow()
	return iq, nil
}

// pairAnswer takes the client's answer to pair-success and reports whether the iq was that.
func (s *Server) pairAnswer(c *conn, iq *waBinary.Node) bool {
	s.mu.Lock()
	if c.reg == nil || c.reg.pending == nil || c.reg.pending.iqID != attrString(*iq, "id") {
		s.mu.Unlock()
		return false
	}
	p := c.reg.pending
	s.mu.Unlock()
	if err := p.check(iq); err != nil {
		s.record(Event{Kind: EventPairRejected, Conn: c.id, JID: p.dev.jid().String(), Detail: err.Error()},
			func(st *Stats) { st.PairRejected++ })
		s.mu.Lock()
		if c.reg != nil {
			c.reg.pending = nil
		}
		s.mu.Unlock()
		p.settle(err)
		return true
	}
	s.paired(c, p)
	return true
}

// check verifies a pair-device-sign.
func (p *pairing) check(iq *waBinary.Node) error {
	if attrString(*iq, "type") != "result" {
		reason := iq.GetChildByTag("error")
		return fmt.Errorf("%w: %s %s", ErrRejected, attrString(reason, "code"), attrString(reason, "text"))
	}
	content, _ := iq.GetChildByTag("pair-device-sign", "device-identity").Content.([]byte)
	var id waAdv.ADVSignedDeviceIdentity
	if err := proto.Unmarshal(content, &id); err != nil {
		return fmt.Errorf("%w: pair-device-sign: %w", ErrRejected, err)
	}
	if string(id.GetDetails()) != string(p.details) {
		return fmt.Errorf("%w: pair-device-sign has other details", ErrRejected)
	}
	if !verified(p.dev.identity, id.GetDeviceSignature(), deviceSignaturePrefix, p.details, p.dev.identity[:], p.account[:]) {
		return fmt.Errorf("%w: the device signature does not verify", ErrRejected)
	}
	return nil
}

// paired makes the device known, on disk first, and sends the client to its first login.
func (s *Server) paired(c *conn, p *pairing) {
	s.mu.Lock()
	s.devices[p.dev.noise] = p.dev
	s.mu.Unlock()
	if err := s.persist(c.ctx); err != nil {
		s.Logger.Error("state not written", "err", err)
	}
	s.record(Event{Kind: EventPaired, Conn: c.id, JID: p.dev.jid().String()}, func(st *Stats) { st.Paired++ })
	p.settle(nil)
	c.pushFinal(waBinary.Node{Tag: "stream:error", Attrs: waBinary.Attrs{"code": "515"}}, "paired: 515")
}

// serverIQ is an iq that the server starts.
func serverIQ(id, xmlns string, content ...waBinary.Node) waBinary.Node {
	return waBinary.Node{
		Tag:     "iq",
		Attrs:   waBinary.Attrs{"id": id, "type": "set", "xmlns": xmlns, "from": types.ServerJID},
		Content: content,
	}
}

// nextID makes an id for a stanza of the server, unique on the connection.
func (c *conn) nextID(purpose string) string {
	return purpose + "-" + strconv.FormatUint(c.id, 10) + "-" + strconv.FormatInt(c.ids.Add(1), 10)
}
