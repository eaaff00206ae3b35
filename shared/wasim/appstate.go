package wasim

import (
	"context"
	"encoding/binary"
	"fmt"
	"strconv"

	waBinary "go.mau.fi/whatsmeow/binary"
	"go.mau.fi/whatsmeow/proto/waE2E"
	"go.mau.fi/whatsmeow/proto/waServerSync"
	"go.mau.fi/whatsmeow/types"
	"google.golang.org/protobuf/proto"

	"go.mau.fi/whatsmeow/appstate"
	"go.mau.fi/whatsmeow/store"
	waLog "go.mau.fi/whatsmeow/util/log"
)

// The phone's push name reaches a companion by app state only: at the first login the phone sends the key that its app
// state is enciphered with (a Signal message), then the companion fetches the collections, and critical_block, at
// version 1 for ever, holds the setting.

// pushNameVersion is the version of critical_block with the push name.
const pushNameVersion = 1

// appStateKey is the app state key of a phone.
func (s *Server) appStateKey(number string) (id, data []byte) {
	key := s.seed.bytes("app state key " + number)
	hash := s.seed.bytes("app state key id " + number)
	return hash[:6], key[:]
}

// pushName is what the phone with that number calls itself.
func (s *Server) pushName(number string) string {
	if s.PushName != "" {
		return s.PushName
	}
	return "wasim " + number
}

// shareAppState sends the device its phone's app state key, unless it has it already. The message stays in the queue
// until the device acknowledges it.
func (s *Server) shareAppState(d *device) {
	s.mu.Lock()
	if s.NoAppState || d.shared || d.sharing != "" || d.removed {
		s.mu.Unlock()
		return
	}
	d.sharing = fmt.Sprintf("3EB0%016X", s.lastShare.Add(1))
	id := d.sharing
	to := d.recipientLocked()
	s.mu.Unlock()

	keyID, keyData := s.appStateKey(d.number)
	node, err := s.phoneMessage(d, to, id, &waE2E.Message{ProtocolMessage: &waE2E.ProtocolMessage{
		Type: waE2E.ProtocolMessage_APP_STATE_SYNC_KEY_SHARE.Enum(),
		AppStateSyncKeyShare: &waE2E.AppStateSyncKeyShare{Keys: []*waE2E.AppStateSyncKey{{
			KeyID: &waE2E.AppStateSyncKeyId{KeyID: keyID},
			KeyData: &waE2E.AppStateSyncKeyData{
				KeyData:     keyData,
				Fingerprint: &waE2E.AppStateSyncKeyFingerprint{RawID: proto.Uint32(1), CurrentIndex: proto.Uint32(0)},
				Timestamp:   proto.Int64(d.paired.UnixMilli()),
			},
		}}},
	}})
	if err != nil {
		s.Logger.Warn("the phone cannot write to its device", "jid", d.jid().String(), "err", err)
		return
	}
	s.enqueue(d, id, node)
}

// phoneMessage is a peer message from the phone to its companion.
func (s *Server) phoneMessage(d *device, to recipient, id string, msg *waE2E.Message) (node waBinary.Node, err error) {
	plain, err := proto.Marshal(msg)
	if err != nil {
		return node, err
	}
	sealed, err := sealSignal(s.seed.account(d.number), to, plain)
	if err != nil {
		return node, err
	}
	return waBinary.Node{
		Tag: "message",
		Attrs: waBinary.Attrs{
			"id": id, "from": types.NewJID(d.number, types.DefaultUserServer), "type": "text", "category": "peer", "t": unixNow(),
		},
		Content: []waBinary.Node{{Tag: "enc", Attrs: waBinary.Attrs{"v": "2", "type": "pkmsg"}, Content: sealed}},
	}, nil
}

// appStateSync answers a fetch of app state collections: all are empty, but for the push name in critical_block.
func (c *conn) appStateSync(request waBinary.Node) waBinary.Node {
	var list []waBinary.Node
	for _, want := range request.GetChildrenByTag("collection") {
		name := attrString(want, "name")
		answer := waBinary.Node{Tag: "collection", Attrs: waBinary.Attrs{"name": name, "type": "result", "version": "0"}}
		switch {
		case c.shortPatch.Load():
			answer.Content = patches(malformedPatch())
		case name == string(appstate.WAPatchCriticalBlock):
			c.addPushName(&answer, attrString(want, "version"))
		}
		list = append(list, answer)
	}
	return waBinary.Node{Tag: "sync", Content: list}
}

// addPushName puts the patch with the push name into the answer, if the client does not have it yet.
func (c *conn) addPushName(answer *waBinary.Node, have string) {
	s := c.srv
	s.mu.Lock()
	d := c.dev
	s.mu.Unlock()
	if d == nil || s.NoAppState {
		return
	}
	answer.Attrs["version"] = strconv.Itoa(pushNameVersion)
	if version, _ := strconv.Atoi(have); version >= pushNameVersion {
		return
	}
	patch, err := s.pushNamePatch(d.number)
	if err != nil {
		s.Logger.Warn("push name not encoded", "err", err)
		return
	}
	answer.Content = patches(patch)
	s.record(Event{Kind: EventPushName, Conn: c.id, JID: d.jid().String()}, nil)
}

func patches(patch []byte) []waBinary.Node {
	return []waBinary.Node{{Tag: "patches", Content: []waBinary.Node{{Tag: "patch", Content: patch}}}}
}

// pushNamePatch is the first and only patch of critical_block.
func (s *Server) pushNamePatch(number string) ([]byte, error) {
	id, data := s.appStateKey(number)
	keys := &oneAppStateKey{data: data}
	proc := appstate.NewProcessor(&store.Device{AppStateKeys: keys, AppState: keys}, waLog.Noop)
	raw, err := proc.EncodePatch(context.Background(), id, appstate.HashState{}, appstate.BuildSettingPushName(s.pushName(number)))
	if err != nil {
		return nil, err
	}
	var patch waServerSync.SyncdPatch
	if err := proto.Unmarshal(raw, &patch); err != nil {
		return nil, err
	}
	patch.Version = &waServerSync.SyncdVersion{Version: proto.Uint64(pushNameVersion)}
	return proto.Marshal(&patch)
}

// oneAppStateKey is the store that encoding a patch needs: one key, no earlier mutations.
type oneAppStateKey struct {
	store.NoopStore
	data []byte
}

func (k *oneAppStateKey) GetAppStateSyncKey(context.Context, []byte) (*store.AppStateSyncKey, error) {
	return &store.AppStateSyncKey{Data: k.data}, nil
}

// uint24 reads a key id as it is on the wire.
func uint24(b []byte) uint32 {
	return binary.BigEndian.Uint32(append([]byte{0}, b...))
}
