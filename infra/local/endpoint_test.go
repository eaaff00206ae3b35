package main

import (
	"context"
	"errors"
	"slices"
	"testing"

	"github.com/wafleet/wafleet/shared/session"
	"github.com/wafleet/wafleet/shared/store"
)

func TestChoiceOfWhatsApp(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		set     settings
		answers error
		probed  bool
		want    choice
	}{
		"auto, it answers":       {settings{WhatsApp: "auto"}, nil, true, chooseReal},
		"auto, it does not":      {settings{WhatsApp: "auto"}, errors.New("down"), true, chooseSimulator},
		"real, though down":      {settings{WhatsApp: "real"}, errors.New("down"), false, chooseReal},
		"simulator, though up":   {settings{WhatsApp: "sim"}, nil, false, chooseSimulator},
		"override":               {settings{WhatsApp: "auto", DialAddr: "h:1"}, nil, false, chooseOverride},
		"override, whatever set": {settings{WhatsApp: "sim", DialAddr: "h:1"}, nil, false, chooseOverride},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			probed := false
			got := chooseEndpoint(t.Context(), test.set, func(context.Context) error {
				probed = true
				return test.answers
			})
			if got.choice != test.want || probed != test.probed {
				t.Errorf("choice %v, probed %v", got.choice, probed)
			}
		})
	}
}

func TestVariablesOfTheEndpoint(t *testing.T) {
	t.Parallel()
	if got := (endpoint{choice: chooseReal, dialAddr: "h:1"}).variables(); got != nil {
		t.Errorf("real: %q", got)
	}
	want := []string{"WHATSAPP_DIAL_ADDR=h:1", "WHATSAPP_TLS_CA=f", "WHATSAPP_NOISE_ROOT_KEY=k"}
	if got := (endpoint{choice: chooseOverride, dialAddr: "h:1", caFile: "f", rootKey: "k"}).variables(); !slices.Equal(got, want) {
		t.Errorf("override: %q", got)
	}
}

// linked is a tenant with linked devices.
type linked []string

func (l linked) Sessions(_ context.Context, _ session.TenantID, filter store.Filter) ([]session.Session, error) {
	var list []session.Session
	for _, jid := range l[min(filter.Offset, len(l)):] {
		if list = append(list, session.Session{Run: session.Run{JID: jid}}); len(list) == filter.Limit {
			break
		}
	}
	return list, nil
}

func TestRealLinksAreKeptFromTheSimulator(t *testing.T) {
	t.Parallel()
	many := make(linked, 1200)
	many[1100] = "1:1@s.whatsapp.net"
	simulated := map[string]bool{"2:1@s.whatsapp.net": true}
	for name, test := range map[string]struct {
		sessions linked
		real     bool
		want     error
	}{
		"never real":           {linked{"1:1@s.whatsapp.net"}, false, nil},
		"nothing is linked":    {linked{"", ""}, true, nil},
		"its own device":       {linked{"", "2:1@s.whatsapp.net"}, true, nil},
		"a real device":        {linked{"2:1@s.whatsapp.net", "1:1@s.whatsapp.net"}, true, errLinkedElsewhere},
		"a real one far below": {many, true, errLinkedElsewhere},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			data := openData(t)
			if test.real {
				if err := markReal(data); err != nil {
					t.Fatal(err)
				}
			}
			if err := checkLinks(t.Context(), data, test.sessions, "t", simulated); !errors.Is(err, test.want) {
				t.Errorf("error = %v, want %v", err, test.want)
			}
		})
	}
}
