package runner

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/wafleet/wafleet/connector/event"
)

// situations bring a runner into each phase.
var situations = []struct {
	name string
	in   phase
	play func(w *world)
}{
	{"dialing", dialing, func(w *world) { w.onDial = hangs; w.start(linked) }},
	{"dialing, unlinked", dialing, func(w *world) { w.onDial = hangs; w.start() }},
	{"waiting for codes", dialing, func(w *world) { w.start() }},
	{"scanning", scanning, func(w *world) { w.start(); w.say(sixCodes) }},
	{"linking", linking, func(w *world) { w.start(); w.say(sixCodes, event.Paired{JID: jid}) }},
	{"linking, unrecorded", linking, func(w *world) {
		w.start()
		w.say(sixCodes)
		w.set(func() { w.onWrite = unavailable })
		w.say(event.Paired{JID: jid})
	}},
	{"loggingIn", loggingIn, func(w *world) { w.start(linked) }},
	{"working", working, func(w *world) { w.start(linked); w.say(event.Connected{}) }},
	{"pausing", pausing, func(w *world) { w.start(linked); w.say(event.Disconnected{}) }},
	{"pausing, in the grace", pausing, func(w *world) { w.start(linked); w.say(event.Connected{}, event.Disconnected{}) }},
}

var everyEvent = []event.Event{
	sixCodes, event.Paired{JID: "other"}, event.PairFailed{Problem: "p"}, event.PasskeyAsked{}, event.ReconnectNeeded{},
	event.Connected{}, event.Named{PushName: "n"}, event.Disconnected{}, event.PingMissed{}, event.Replaced{},
	event.LoggedOut{Code: 401}, event.Banned{For: time.Hour}, event.Outdated{}, event.Refused{Code: 418}, event.StreamError{Code: "7"},
}

// Every event in every phase: the phase or end after it, and what happened.
// A missing row means that the event changes nothing.
func TestEveryEventInEveryPhase(t *testing.T) {
	t.Parallel()
	table := readTable(t)
	for _, s := range situations {
		for _, e := range everyEvent {
			kind := strings.TrimPrefix(fmt.Sprintf("%T", e), "event.")
			row, listed := table[s.name+" + "+kind]
			if !listed {
				row = string(s.in)
			}
			delete(table, s.name+" + "+kind)
			t.Run(s.name+"/"+kind, func(t *testing.T) {
				simulate(t, func(w *world) {
					s.play(w)
					if w.r.phase != s.in {
						t.Fatalf("the runner is %s", w.r.phase)
					}
					w.take()
					w.say(e)
					if got := w.afterEvent(); got != row {
						t.Errorf("got  %s\nwant %s", got, row)
					}
				})
			})
		}
	}
	for row := range table {
		t.Errorf("no such situation and event: %s", row)
	}
}

// afterEvent sorts what happened: what runs side by side has no order here.
func (w *world) afterEvent() string {
	now := string(w.r.phase)
	if w.r.phase == ended {
		now = "END " + showEnd(w.r.outcome)
	}
	happened := w.take()
	slices.Sort(happened)
	return strings.Join(append([]string{now}, happened...), "; ")
}

func readTable(t *testing.T) map[string]string {
	rows := map[string]string{}
	for line := range strings.Lines(eventTable) {
		key, row, ok := strings.Cut(strings.TrimSpace(line), " -> ")
		if !ok {
			t.Fatalf("row %q", line)
		}
		rows[key] = row
	}
	return rows
}

const eventTable = `dialing + Paired -> dialing; illegal!
dialing + PairFailed -> END FAILED PAIR_ERROR; release
dialing + Connected -> working; WORKING
dialing + Named -> dialing; STARTING
dialing + Disconnected -> pausing; STARTING RECONNECTING
dialing + Replaced -> END FAILED STREAM_REPLACED; STARTING STREAM_REPLACED; epoch?; release
dialing + LoggedOut -> END FAILED LOGGED_OUT; forget; release
dialing + Banned -> END FAILED TEMP_BAN; release
dialing + Outdated -> dialing; STARTING CLIENT_OUTDATED; dial 2 4915100000001:7@s.whatsapp.net; refresh v1
dialing + Refused -> pausing; STARTING CONNECT_FAILURE_418
dialing + StreamError -> dialing; STARTING STREAM_ERROR_7; stream error!
dialing, unlinked + QR -> scanning; SCAN_QR_CODE; codes a b c d e f
dialing, unlinked + Paired -> linking; device other
dialing, unlinked + PairFailed -> END FAILED PAIR_ERROR; release
dialing, unlinked + Connected -> dialing; illegal!
dialing, unlinked + Named -> dialing; STARTING
dialing, unlinked + Disconnected -> pausing; STARTING RECONNECTING
dialing, unlinked + Replaced -> END FAILED STREAM_REPLACED; STARTING STREAM_REPLACED; epoch?; release
dialing, unlinked + LoggedOut -> END FAILED LOGGED_OUT; forget; release
dialing, unlinked + Banned -> END FAILED TEMP_BAN; release
dialing, unlinked + Outdated -> dialing; STARTING CLIENT_OUTDATED; dial 2 new; refresh v1
dialing, unlinked + Refused -> pausing; STARTING CONNECT_FAILURE_418
dialing, unlinked + StreamError -> dialing; STARTING STREAM_ERROR_7; stream error!
waiting for codes + QR -> scanning; SCAN_QR_CODE; codes a b c d e f
waiting for codes + Paired -> linking; device other
waiting for codes + PairFailed -> END FAILED PAIR_ERROR; close 1; release
waiting for codes + Connected -> dialing; illegal!
waiting for codes + Named -> dialing; STARTING
waiting for codes + Disconnected -> pausing; STARTING RECONNECTING; close 1
waiting for codes + Replaced -> END FAILED STREAM_REPLACED; STARTING STREAM_REPLACED; close 1; epoch?; release
waiting for codes + LoggedOut -> END FAILED LOGGED_OUT; close 1; forget; release
waiting for codes + Banned -> END FAILED TEMP_BAN; close 1; release
waiting for codes + Outdated -> dialing; STARTING CLIENT_OUTDATED; close 1; dial 2 new; refresh v1
waiting for codes + Refused -> pausing; STARTING CONNECT_FAILURE_418; close 1
waiting for codes + StreamError -> dialing; STARTING STREAM_ERROR_7; stream error!
scanning + QR -> scanning; codes a b c d e f
scanning + Paired -> linking; STARTING; device other
scanning + PairFailed -> END FAILED PAIR_ERROR; close 1; release
scanning + PasskeyAsked -> scanning; SCAN_QR_CODE PASSKEY_REQUIRED
scanning + Connected -> scanning; illegal!
scanning + Named -> scanning; SCAN_QR_CODE
scanning + Disconnected -> pausing; STARTING RECONNECTING; clear; close 1
scanning + Replaced -> END FAILED STREAM_REPLACED; STARTING STREAM_REPLACED; clear; close 1; epoch?; release
scanning + LoggedOut -> END FAILED LOGGED_OUT; close 1; forget; release
scanning + Banned -> END FAILED TEMP_BAN; close 1; release
scanning + Outdated -> dialing; STARTING CLIENT_OUTDATED; clear; close 1; dial 2 new; refresh v1
scanning + Refused -> pausing; STARTING CONNECT_FAILURE_418; clear; close 1
scanning + StreamError -> scanning; SCAN_QR_CODE STREAM_ERROR_7; stream error!
linking + Paired -> linking; illegal!
linking + PairFailed -> END FAILED PAIR_ERROR; close 1; release
linking + ReconnectNeeded -> loggingIn; close 1; dial 2 4915100000001:7@s.whatsapp.net
linking + Connected -> linking; illegal!
linking + Named -> linking; STARTING
linking + Disconnected -> loggingIn; close 1; dial 2 4915100000001:7@s.whatsapp.net
linking + Replaced -> END FAILED STREAM_REPLACED; STARTING STREAM_REPLACED; close 1; epoch?; release
linking + LoggedOut -> END FAILED LOGGED_OUT; close 1; forget; release
linking + Banned -> END FAILED TEMP_BAN; close 1; release
linking + Outdated -> loggingIn; STARTING CLIENT_OUTDATED; close 1; dial 2 4915100000001:7@s.whatsapp.net; refresh v1
linking + Refused -> pausing; STARTING CONNECT_FAILURE_418; close 1
linking + StreamError -> linking; STARTING STREAM_ERROR_7; stream error!
linking, unrecorded + Paired -> linking; illegal!
linking, unrecorded + PairFailed -> END FAILED PAIR_ERROR; close 1
linking, unrecorded + Connected -> linking; illegal!
linking, unrecorded + Named -> linking; STARTING
linking, unrecorded + Replaced -> pausing; STARTING STREAM_REPLACED; close 1
linking, unrecorded + LoggedOut -> END FAILED LOGGED_OUT; close 1
linking, unrecorded + Banned -> END FAILED TEMP_BAN; close 1
linking, unrecorded + Outdated -> pausing; STARTING CLIENT_OUTDATED; close 1; refresh v1
linking, unrecorded + Refused -> pausing; STARTING CONNECT_FAILURE_418; close 1
linking, unrecorded + StreamError -> linking; STARTING STREAM_ERROR_7; stream error!
loggingIn + Paired -> loggingIn; illegal!
loggingIn + PairFailed -> END FAILED PAIR_ERROR; close 1; release
loggingIn + Connected -> working; WORKING
loggingIn + Named -> loggingIn; STARTING
loggingIn + Disconnected -> pausing; STARTING RECONNECTING; close 1
loggingIn + Replaced -> END FAILED STREAM_REPLACED; STARTING STREAM_REPLACED; close 1; epoch?; release
loggingIn + LoggedOut -> END FAILED LOGGED_OUT; close 1; forget; release
loggingIn + Banned -> END FAILED TEMP_BAN; close 1; release
loggingIn + Outdated -> loggingIn; STARTING CLIENT_OUTDATED; close 1; dial 2 4915100000001:7@s.whatsapp.net; refresh v1
loggingIn + Refused -> pausing; STARTING CONNECT_FAILURE_418; close 1
loggingIn + StreamError -> loggingIn; STARTING STREAM_ERROR_7; stream error!
working + Paired -> working; illegal!
working + PairFailed -> END FAILED PAIR_ERROR; close 1; release
working + Named -> working; WORKING
working + Disconnected -> pausing; WORKING RECONNECTING; close 1
working + PingMissed -> working; probe
working + Replaced -> END FAILED STREAM_REPLACED; STARTING STREAM_REPLACED; close 1; epoch?; release
working + LoggedOut -> END FAILED LOGGED_OUT; close 1; forget; release
working + Banned -> END FAILED TEMP_BAN; close 1; release
working + Outdated -> loggingIn; STARTING CLIENT_OUTDATED; close 1; dial 2 4915100000001:7@s.whatsapp.net; refresh v1
working + Refused -> pausing; STARTING CONNECT_FAILURE_418; close 1
working + StreamError -> working; WORKING STREAM_ERROR_7; stream error!`
