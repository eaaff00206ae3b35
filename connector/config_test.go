package main

import (
	"log/slog"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/wafleet/wafleet/shared/store"
)

const databaseURL = "postgres://u:p@127.0.0.1:5432/db?sslmode=disable"

func TestDefaultsAreProductions(t *testing.T) {
	t.Setenv("DATABASE_URL", databaseURL)
	c, err := readConfig()
	if err != nil {
		t.Fatal(err)
	}
	if c.Slots != 200 || c.Listen != "127.0.0.1:9090" || c.Connects != 25 || c.endpoint.Overridden() {
		t.Errorf("%+v", c)
	}
	if c.lease.TTL != 15*time.Second || c.lease.Beat != 4*time.Second || c.lease.Trust != 10*time.Second {
		t.Errorf("lease %+v", c.lease)
	}
	if timing := c.timing(); timing.QRFirst != time.Minute || timing.QRNext != 20*time.Second || timing.Probe != 10*time.Second || timing.Patience != 2*time.Minute {
		t.Errorf("timing %+v", timing)
	}
	// WhatsApp's own clients ping every 20 to 30 s.
	if g := c.globals(); g.KeepAliveMin != 20*time.Second || g.KeepAliveMax != 30*time.Second || g.RootKey != nil {
		t.Errorf("globals %+v", g)
	}
}

// TestConnectionsToPostgresAddUp: the cap counts everything that a connector
// opens, or a fleet takes more of the server's max_connections than its
// operator gave it.
func TestConnectionsToPostgresAddUp(t *testing.T) {
	t.Setenv("DATABASE_URL", databaseURL)
	t.Setenv("DATABASE_MAX_CONNS", "9")
	c, err := readConfig()
	if err != nil {
		t.Fatal(err)
	}
	p, err := newProcess(c, nil, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	defer p.close()
	total := listenConns
	for _, pool := range []*store.Store{p.beats, p.control, p.shared} {
		total += pool.PoolStats().MaxOpenConnections
	}
	if total != 9 {
		t.Errorf("DATABASE_MAX_CONNS is 9, but all connections are %d", total)
	}
}

func TestEveryMistakeIsReportedAtOnce(t *testing.T) {
	for name, value := range map[string]string{
		"SLOTS": "0", "CONNECTS_PER_SECOND": "-1", "DATABASE_MAX_CONNS": "5", "LOG_LEVEL": "chatty",
		"QR_FIRST": "0s", "UNLINK_PATIENCE": "0s", "WHATSAPP_KEEPALIVE": "-1s", "WHATSAPP_DIAL_ADDR": "127.0.0.1:1",
		"DATA_DIR": filepath.Join("/dev/null", "x"), "SECRETS_KEY_FILE": filepath.Join("/dev/null", "x"), "SECRETS_KMS_KEY": "alias/x",
	} {
		t.Setenv(name, value)
	}
	_, err := readConfig()
	if err == nil {
		t.Fatal("accepted")
	}
	for _, name := range []string{
		"DATABASE_URL", "SLOTS", "CONNECTS_PER_SECOND", "DATABASE_MAX_CONNS", "LOG_LEVEL", "QR_FIRST", "UNLINK_PATIENCE", "WHATSAPP_KEEPALIVE",
		"WHATSAPP_DIAL_ADDR", "DATA_DIR", "SECRETS_KEY_FILE:", "SECRETS_KMS_KEY must be the ARN",
	} {
		if !strings.Contains(err.Error(), name) {
			t.Errorf("%s is not named in: %v", name, err)
		}
	}
}

func TestValuesThatDoNotParseAreNamed(t *testing.T) {
	t.Setenv("DATABASE_URL", databaseURL)
	t.Setenv("LEASE_TTL", "soon")
	if _, err := readConfig(); err == nil || !strings.Contains(err.Error(), "LeaseTTL") && !strings.Contains(err.Error(), "LEASE_TTL") {
		t.Errorf("%v", err)
	}
}

func TestUnknownArgumentsAreRefused(t *testing.T) {
	if err := run([]string{"frobnicate"}); err == nil || !strings.Contains(err.Error(), "usage") {
		t.Errorf("%v", err)
	}
}

func TestTheHealthcheckNeedsAConnector(t *testing.T) {
	t.Setenv("LISTEN", "127.0.0.1:1")
	if err := run([]string{"healthcheck"}); err == nil {
		t.Error("healthy without a connector")
	}
}
