package whatsapp

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	waBinary "go.mau.fi/whatsmeow/binary"
	"go.mau.fi/whatsmeow/types/events"

	"github.com/wafleet/wafleet/connector/event"
)

// TestTranslate covers what the simulator does not say.
func TestTranslate(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		raw  any
		want event.Event
	}{
		{&events.PairError{}, event.PairFailed{Problem: "the phone's confirmation was refused"}},
		{&events.QRScannedWithoutMultidevice{}, event.PairFailed{Problem: "the phone has linked devices turned off"}},
		{&events.PairPasskeyRequest{}, event.PasskeyAsked{}},
		{&events.PairPasskeyConfirmation{}, event.PasskeyAsked{}},
		{&events.PairPasskeyError{}, event.PairFailed{Problem: "the passkey step failed"}},
		{&events.CATRefreshError{}, event.Refused{Code: 414}},
		{&events.PushNameSetting{}, event.Named{}},
		{&events.StreamError{}, event.StreamError{}},
		{&events.StreamError{Raw: &waBinary.Node{}}, event.StreamError{}},
		{&events.StreamError{Raw: &waBinary.Node{Content: []waBinary.Node{{Tag: "xml-not-well-formed"}}}}, event.StreamError{Code: "xml-not-well-formed"}},
		{&events.Message{}, nil},
		{nil, nil},
	} {
		if diff := cmp.Diff(tt.want, translate(tt.raw)); diff != "" {
			t.Errorf("%T (-want +got):\n%s", tt.raw, diff)
		}
	}
}
