package main

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/wafleet/wafleet/shared/session"
)

func TestDefaults(t *testing.T) {
	t.Parallel()
	set, err := readSettings([]string{"PORT=", "API_KEY=", "WHATSAPP="}, "some/where") // empty is unset
	if err != nil {
		t.Fatal(err)
	}
	if set.Port != 8080 || set.ControlPort != 8081 || set.Connectors != 1 || set.Slots != 200 || set.WhatsApp != "auto" ||
		set.Dialect != session.SQLite || set.LogLevel != "INFO" || set.LogAll || set.APIKey != "" || set.overridden() {
		t.Errorf("defaults = %+v", set)
	}
	if !filepath.IsAbs(set.Data) || !strings.HasSuffix(set.Data, "some/where") {
		t.Errorf("data = %q", set.Data)
	}
}

func TestWrongSettingsAreNamed(t *testing.T) {
	t.Parallel()
	noPEM := filepath.Join(t.TempDir(), "no.pem")
	if err := os.WriteFile(noPEM, []byte("no certificate"), 0o600); err != nil {
		t.Fatal(err)
	}
	key := strings.Repeat("0a", 32)
	override := func(addr, ca, key string) []string {
		return []string{"WHATSAPP_DIAL_ADDR=" + addr, "WHATSAPP_TLS_CA=" + ca, "WHATSAPP_NOISE_ROOT_KEY=" + key}
	}
	for name, test := range map[string]struct {
		environ []string
		want    []string // the variables, sorted
	}{
		"port is no number":       {[]string{"PORT=x"}, []string{"PORT"}},
		"port is zero":            {[]string{"PORT=0"}, []string{"PORT"}},
		"port is too big":         {[]string{"PORT=65536"}, []string{"PORT"}},
		"control port":            {[]string{"SIM_CONTROL_PORT=-1"}, []string{"SIM_CONTROL_PORT"}},
		"one port for both":       {[]string{"PORT=9000", "SIM_CONTROL_PORT=9000"}, []string{"SIM_CONTROL_PORT"}},
		"connectors":              {[]string{"CONNECTORS=33"}, []string{"CONNECTORS"}},
		"negative connectors":     {[]string{"CONNECTORS=-1"}, []string{"CONNECTORS"}},
		"slots":                   {[]string{"SLOTS=0"}, []string{"SLOTS"}},
		"whatsapp":                {[]string{"WHATSAPP=maybe"}, []string{"WHATSAPP"}},
		"dialect":                 {[]string{"DEFAULT_STORE_DIALECT=mysql"}, []string{"DEFAULT_STORE_DIALECT"}},
		"origins":                 {[]string{"CORS_ORIGINS=https://u:geheim@h,h"}, []string{"CORS_ORIGINS"}},
		"level":                   {[]string{"LOG_LEVEL=LOUD"}, []string{"LOG_LEVEL"}},
		"log":                     {[]string{"LOG=perhaps"}, []string{"LOG"}},
		"key with a space":        {[]string{"API_KEY=a b"}, []string{"API_KEY"}},
		"key with a comma":        {[]string{"API_KEY=a,b"}, []string{"API_KEY"}},
		"database of another":     {[]string{"DATABASE_URL=mysql://u:geheim@h/d"}, []string{"DATABASE_URL"}},
		"database without ssl":    {[]string{"DATABASE_URL=postgres://u:geheim@h/d"}, []string{"DATABASE_URL"}},
		"override: address alone": {[]string{"WHATSAPP_DIAL_ADDR=h:1"}, []string{"WHATSAPP_NOISE_ROOT_KEY", "WHATSAPP_TLS_CA"}},
		"override: key missing":   {override("h:1", noPEM, ""), []string{"WHATSAPP_NOISE_ROOT_KEY", "WHATSAPP_TLS_CA"}},
		"override: no port":       {override("h", noPEM, key), []string{"WHATSAPP_DIAL_ADDR", "WHATSAPP_TLS_CA"}},
		"override: no file":       {override("h:1", noPEM+"x", key), []string{"WHATSAPP_TLS_CA"}},
		"override: short key":     {override("h:1", noPEM, key[2:]), []string{"WHATSAPP_NOISE_ROOT_KEY", "WHATSAPP_TLS_CA"}},
		"override: no hex":        {override("h:1", noPEM, "x"+key[1:]), []string{"WHATSAPP_NOISE_ROOT_KEY", "WHATSAPP_TLS_CA"}},
		"all at once":             {[]string{"PORT=x", "SLOTS=x", "WHATSAPP=x"}, []string{"PORT", "SLOTS", "WHATSAPP"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := readSettings(test.environ, ".data")
			var wrong *settingsError
			if !errors.As(err, &wrong) {
				t.Fatalf("error = %v", err)
			}
			var got []string
			for line := range strings.Lines(err.Error()) {
				variable, _, _ := strings.Cut(line, " ")
				got = append(got, variable)
			}
			if !slices.Equal(got, test.want) {
				t.Errorf("named %q, want %q", got, test.want)
			}
			if strings.Contains(err.Error(), "geheim") {
				t.Errorf("the error repeats a password: %v", err)
			}
		})
	}
}

func TestOnlyWhatConnectorsNeedIsInherited(t *testing.T) {
	t.Parallel()
	got := inherited([]string{
		"PATH=/bin", "AWS_SECRET_ACCESS_KEY=s", "API_KEY=k", "WHATSAPP=sim", "WHATSAPP_VERSION=1.2.3",
		"QR_FIRST=2s", "LEASE_TTL=6s", "CONNECTS_PER_SECOND=5", "QR_NEXT=", "PORT=1",
	})
	want := []string{"PATH=/bin", "WHATSAPP_VERSION=1.2.3", "QR_FIRST=2s", "LEASE_TTL=6s", "CONNECTS_PER_SECOND=5"}
	if !slices.Equal(got, want) {
		t.Errorf("inherited %q, want %q", got, want)
	}
}

func TestConnectorsAlwaysLogTheirID(t *testing.T) {
	t.Parallel()
	for asked, want := range map[string]string{"DEBUG": "DEBUG", "debug": "debug", "INFO": "INFO", "WARN": "INFO", "ERROR": "INFO"} {
		if got := connectorLevel(asked); got != want {
			t.Errorf("level %s becomes %s, want %s", asked, got, want)
		}
	}
}
