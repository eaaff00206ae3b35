package control

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/wafleet/wafleet/shared/session"
	"github.com/wafleet/wafleet/shared/store"
)

// answering is a store that answers every request with the same.
type answering struct {
	Store
	session session.Session
	err     error
}

func (a *answering) Start(context.Context, store.Actor, session.Name, *session.Stored, session.Config, int) (session.Session, bool, error) {
	return a.session, true, a.err
}
func (a *answering) Create(context.Context, store.Actor, session.Name, session.Stored, bool, int) (session.Session, error) {
	return a.session, a.err
}
func (a *answering) Stop(context.Context, store.Actor, session.Name) (session.Session, error) {
	return a.session, a.err
}
func (a *answering) Restart(context.Context, store.Actor, session.Name, *session.Stored) (session.Session, error) {
	return a.session, a.err
}
func (a *answering) Update(context.Context, store.Actor, session.Name, session.Stored) (session.Session, error) {
	return a.session, a.err
}
func (a *answering) Logout(context.Context, store.Actor, session.Name) (session.Session, error) {
	return a.session, a.err
}
func (a *answering) Delete(context.Context, store.Actor, session.Name) (session.Session, error) {
	return a.session, a.err
}

type hinted []string

func (h *hinted) Hint(_ context.Context, id session.ID, generation session.Generation) {
	*h = append(*h, fmt.Sprintf("%s %d", id, generation))
}

func TestOnlyWhatWaitsForAConnectorIsHinted(t *testing.T) {
	t.Parallel()
	now := time.Now()
	running := session.Wanted{Desired: session.DesiredRunning, Generation: 4}
	stopped := session.Wanted{Desired: session.DesiredStopped, Generation: 4}
	held, died := session.Run{Holder: "c", LeaseUntil: now.Add(time.Second)}, session.Run{Holder: "c", LeaseUntil: now.Add(-time.Second)}
	deleted, unlink := stopped, stopped
	deleted.Deleted, unlink.Unlink = true, 4
	for name, c := range map[string]struct {
		wanted session.Wanted
		run    session.Run
		err    error
		hints  bool
	}{
		"started":                      {running, session.Run{}, nil, true},
		"its holder died":              {running, died, nil, true},
		"held":                         {running, held, nil, false},
		"stopped":                      {stopped, session.Run{}, nil, false},
		"deleted":                      {deleted, session.Run{}, nil, true},
		"deleted while held":           {deleted, held, nil, false},
		"to be unlinked while stopped": {unlink, session.Run{JID: "1:1@s", Linked: 2}, nil, true},
		"nothing to unlink":            {unlink, session.Run{}, nil, false},
		"refused":                      {running, session.Run{}, session.ErrActive, false},
	} {
		var got hinted
		s := &answering{session: session.Session{ID: "a", Wanted: c.wanted, Run: c.run, ReadAt: now}, err: c.err}
		control := New(s, Config{SQLiteAvailable: true, Hints: &got})
		var requests int
		for what, err := range map[string]error{
			"start":   third(control.Start(t.Context(), store.Actor{}, "x", nil, 0)),
			"create":  second(control.Create(t.Context(), store.Actor{}, "x", nil, true, 0)),
			"restart": second(control.Restart(t.Context(), store.Actor{}, "x", nil)),
			"update":  second(control.Update(t.Context(), store.Actor{}, "x", session.DefaultConfig(session.Defaults{}))),
			"logout":  second(control.Logout(t.Context(), store.Actor{}, "x")),
			"delete":  second(control.Delete(t.Context(), store.Actor{}, "x")),
		} {
			if !errors.Is(err, c.err) {
				t.Errorf("%s, %s: %v", name, what, err)
			}
			requests++
		}
		var want []string
		if c.hints {
			want = slices.Repeat([]string{"a 4"}, requests)
		}
		if !slices.Equal(got, want) {
			t.Errorf("%s: hints %v, want %v", name, got, want)
		}
	}
}

func second[T any](_ T, err error) error { return err }

func third[T, U any](_ T, _ U, err error) error { return err }
