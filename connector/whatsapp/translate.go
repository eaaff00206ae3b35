package whatsapp

import (
	"go.mau.fi/whatsmeow/types/events"

	"github.com/wafleet/wafleet/connector/event"
)

// translate turns whatsmeow's events into the runner's. It returns nil for
// what says nothing about the connection.
func translate(raw any) event.Event {
	switch e := raw.(type) {
	case *events.QR:
		return event.QR{Codes: e.Codes}
	case *events.PairSuccess:
		return event.Paired{JID: e.ID.String()}
	case *events.PairError:
		return event.PairFailed{Problem: "the phone's confirmation was refused"}
	case *events.QRScannedWithoutMultidevice:
		return event.PairFailed{Problem: "the phone has linked devices turned off"}
	case *events.PairPasskeyRequest, *events.PairPasskeyConfirmation:
		return event.PasskeyAsked{}
	case *events.PairPasskeyError:
		return event.PairFailed{Problem: "the passkey step failed"}
	case *events.ManualLoginReconnect:
		return event.ReconnectNeeded{}
	case *events.Connected:
		return event.Connected{}
	case *events.PushNameSetting:
		return event.Named{PushName: e.Action.GetName()}
	case *events.Disconnected:
		return event.Disconnected{}
	case *events.KeepAliveTimeout:
		return event.PingMissed{}
	case *events.StreamReplaced:
		return event.Replaced{}
	case *events.LoggedOut:
		return event.LoggedOut{Code: int(e.Reason)}
	case *events.TemporaryBan:
		return event.Banned{For: e.Expire, Reason: e.Code.String()}
	case *events.ClientOutdated:
		return event.Outdated{}
	case *events.ConnectFailure:
		return event.Refused{Code: int(e.Reason), Message: e.Message}
	case *events.CATRefreshError:
		return event.Refused{Code: int(events.ConnectFailureCATInvalid)}
	case *events.StreamError:
		return event.StreamError{Code: streamErrorCode(e)}
	}
	return nil
}

// streamErrorCode falls back to the name of the stanza's first child.
func streamErrorCode(e *events.StreamError) string {
	if e.Code != "" || e.Raw == nil {
		return e.Code
	}
	if children := e.Raw.GetChildren(); len(children) > 0 {
		return children[0].Tag
	}
	return ""
}
