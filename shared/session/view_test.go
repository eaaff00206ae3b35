package session_test

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/wafleet/wafleet/shared/session"
)

// noon is the time at which the tests look.
var noon = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

func ago(d time.Duration) time.Time   { return noon.Add(-d) }
func ahead(d time.Duration) time.Time { return noon.Add(d) }

func wanted(generation session.Generation, at time.Time) session.Wanted {
	return session.Wanted{Desired: session.DesiredRunning, Generation: generation, At: at}
}

// held is the report of a live holder that has seen generation 3.
func held(state session.Status, reason *session.Reason) session.Run {
	return session.Run{
		Holder: "c-1", LeaseUntil: ahead(10 * time.Second), Epoch: 7,
		State: state, Reason: reason, SeenGeneration: 3, At: ago(time.Minute),
	}
}

func with(r session.Run, change func(*session.Run)) session.Run {
	change(&r)
	return r
}

func noCapacity(since time.Time) *session.Reason {
	return session.NewReason(session.NoCapacity, since.Add(session.NoCapacityAfter), "")
}

func TestView(t *testing.T) {
	t.Parallel()
	lost := session.NewReason(session.Reconnecting, ago(time.Minute), "")
	gone := session.NewReason(session.LoggedOut, ago(time.Minute), "")
	ban := session.NewReason(session.TempBan, ago(time.Minute), "").WithRetryAt(ahead(time.Hour))
	overBan := session.NewReason(session.TempBan, ago(time.Hour), "").WithRetryAt(noon)
	endlessBan := session.NewReason(session.TempBan, ago(time.Hour), "")
	free := func(r *session.Run) { r.Holder, r.LeaseUntil = "", time.Time{} }
	dead := func(since time.Duration) func(*session.Run) {
		return func(r *session.Run) { r.LeaseUntil, r.At = ago(since), ago(72*time.Hour) }
	}
	longAgo := wanted(3, ago(72*time.Hour))

	for name, tt := range map[string]struct {
		wanted session.Wanted
		run    session.Run
		status session.Status
		reason *session.Reason
	}{
		"never asked for":                       {session.Wanted{}, session.Run{}, session.Stopped, nil},
		"stopped, holder still closing":         {session.Wanted{Desired: session.DesiredStopped, Generation: 4}, held(session.Working, lost), session.Stopped, nil},
		"stopped after it failed":               {session.Wanted{Desired: session.DesiredStopped, Generation: 4}, held(session.Failed, gone), session.Stopped, nil},
		"just started, nobody claimed":          {wanted(1, ago(time.Second)), session.Run{}, session.Starting, nil},
		"claimed, not reported yet":             {wanted(1, ago(time.Second)), session.Run{Holder: "c", LeaseUntil: ahead(time.Second)}, session.Starting, nil},
		"starting":                              {longAgo, held(session.Starting, nil), session.Starting, nil},
		"starting again, with a reason":         {longAgo, held(session.Starting, lost), session.Starting, lost},
		"shows QR codes":                        {longAgo, held(session.ScanQRCode, nil), session.ScanQRCode, nil},
		"works":                                 {longAgo, held(session.Working, nil), session.Working, nil},
		"works in its grace":                    {longAgo, held(session.Working, lost), session.Working, lost},
		"holder saw a newer request than read":  {wanted(2, ago(time.Hour)), held(session.Working, nil), session.Working, nil},
		"gave up":                               {longAgo, held(session.Failed, gone), session.Failed, gone},
		"gave up and was released":              {longAgo, with(held(session.Failed, gone), free), session.Failed, gone},
		"gave up, holder died since":            {longAgo, with(held(session.Failed, gone), dead(time.Hour)), session.Failed, gone},
		"asked again after it gave up":          {wanted(4, ago(time.Second)), with(held(session.Failed, gone), free), session.Starting, nil},
		"asked again while it works":            {wanted(4, ago(time.Second)), held(session.Working, lost), session.Starting, nil},
		"asked again, long unanswered, held":    {wanted(4, ago(time.Hour)), held(session.Working, nil), session.Starting, nil},
		"a live holder that reports STOPPED":    {longAgo, held(session.Stopped, lost), session.Starting, lost},
		"a live holder with an unknown state":   {longAgo, held("LOST", nil), session.Starting, nil},
		"released a second ago":                 {longAgo, with(held(session.Working, lost), func(r *session.Run) { free(r); r.At = ago(time.Second) }), session.Starting, lost},
		"released 30 s ago":                     {longAgo, with(held(session.Working, lost), func(r *session.Run) { free(r); r.At = ago(30 * time.Second) }), session.Starting, noCapacity(ago(30 * time.Second))},
		"unclaimed for 29.999 s":                {wanted(1, ago(29999*time.Millisecond)), session.Run{}, session.Starting, nil},
		"unclaimed for 30 s":                    {wanted(1, ago(30*time.Second)), session.Run{}, session.Starting, noCapacity(ago(30 * time.Second))},
		"unclaimed for an hour":                 {wanted(1, ago(time.Hour)), session.Run{}, session.Starting, noCapacity(ago(time.Hour))},
		"worked for days, holder just died":     {longAgo, with(held(session.Working, nil), dead(0)), session.Starting, nil},
		"worked for days, holder dead 29.999 s": {longAgo, with(held(session.Working, nil), dead(29999*time.Millisecond)), session.Starting, nil},
		"worked for days, holder dead 30 s":     {longAgo, with(held(session.Working, nil), dead(30*time.Second)), session.Starting, noCapacity(ago(30 * time.Second))},
		"restarted with a dead holder":          {wanted(4, ago(10*time.Second)), with(held(session.Working, nil), dead(time.Hour)), session.Starting, nil},
		"banned, waits":                         {longAgo, held(session.Starting, ban), session.Starting, ban},
		"banned, nobody holds it meanwhile":     {longAgo, with(held(session.Starting, ban), dead(time.Hour)), session.Starting, ban},
		"ban over, nobody holds it":             {longAgo, with(held(session.Starting, overBan), dead(time.Hour)), session.Starting, noCapacity(ago(time.Hour))},
		"ban without an end, nobody holds it":   {longAgo, with(held(session.Starting, endlessBan), dead(time.Hour)), session.Starting, noCapacity(ago(time.Hour))},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := session.Session{Wanted: tt.wanted, Run: tt.run, ReadAt: noon}
			status, reason := s.View()
			if status != tt.status {
				t.Errorf("status %s, want %s", status, tt.status)
			}
			if diff := cmp.Diff(tt.reason, reason); diff != "" {
				t.Errorf("reason (-want +got):\n%s", diff)
			}
		})
	}
}

func TestHeldAtEndsWithTheLease(t *testing.T) {
	t.Parallel()
	r := session.Run{Holder: "c", LeaseUntil: noon}
	if !r.HeldAt(ago(1)) || r.HeldAt(noon) || r.HeldAt(ahead(1)) {
		t.Error("a lease holds until its end, not at it")
	}
	r.Holder = ""
	if r.HeldAt(ago(1)) {
		t.Error("held by nobody")
	}
}

func TestActive(t *testing.T) {
	t.Parallel()
	for status, want := range map[session.Status]bool{
		session.Stopped: false, session.Starting: true, session.ScanQRCode: true,
		session.Working: true, session.Failed: false, "": false,
	} {
		if got := status.Active(); got != want {
			t.Errorf("%q.Active() = %v", status, got)
		}
	}
}

func TestQRCodesCurrent(t *testing.T) {
	t.Parallel()
	six := session.QRCodes{Codes: []string{"a", "b", "c", "d", "e", "f"}, StartedAt: noon, First: session.FirstQRLife, Next: session.NextQRLife}
	for _, tt := range []struct {
		at   time.Duration
		code string
		ends time.Duration
	}{
		{-time.Second, "a", 60 * time.Second},
		{0, "a", 60 * time.Second},
		{60*time.Second - 1, "a", 60 * time.Second},
		{60 * time.Second, "b", 80 * time.Second},
		{80*time.Second - 1, "b", 80 * time.Second},
		{80 * time.Second, "c", 100 * time.Second},
		{100 * time.Second, "d", 120 * time.Second},
		{120 * time.Second, "e", 140 * time.Second},
		{140 * time.Second, "f", 160 * time.Second},
		{160*time.Second - 1, "f", 160 * time.Second},
	} {
		code, ends, ok := six.Current(ahead(tt.at))
		if !ok || code != tt.code || !ends.Equal(ahead(tt.ends)) {
			t.Errorf("at %v: %q until %v, %v; want %q until %v", tt.at, code, ends.Sub(noon), ok, tt.code, tt.ends)
		}
	}
	for _, at := range []time.Duration{160 * time.Second, time.Hour} {
		if code, ends, ok := six.Current(ahead(at)); ok || code != "" || !ends.IsZero() {
			t.Errorf("at %v: %q, %v, %v; want nothing", at, code, ends, ok)
		}
	}
	if _, _, ok := (session.QRCodes{StartedAt: noon}).Current(noon); ok {
		t.Error("no codes, yet one is current")
	}
	if got := six.Life(); got != 160*time.Second {
		t.Errorf("life %v", got)
	}
	one := session.QRCodes{Codes: []string{"a"}, First: session.FirstQRLife, Next: session.NextQRLife}
	if got := one.Life(); got != 60*time.Second {
		t.Errorf("life of one %v", got)
	}
	if got := (session.QRCodes{First: 60}).Life(); got != 0 {
		t.Errorf("life of none %v", got)
	}
}
