package main

import (
	"crypto/x509"
	"encoding/hex"
	"fmt"
	"maps"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/wafleet/wafleet/functions/httpapi"
	"github.com/wafleet/wafleet/shared/apikey"
	"github.com/wafleet/wafleet/shared/session"
	environment "github.com/wafleet/wafleet/shared/settings"
	"github.com/wafleet/wafleet/shared/store"
	"github.com/wafleet/wafleet/shared/telemetry"
)

const maxConnectors = 32

// settings is the whole environment. An empty variable counts as unset, because
// that is what make passes on for one that nobody gave.
type settings struct {
	// DatabaseURL of a Postgres to use instead of a private one. A secret.
	DatabaseURL string `env:"DATABASE_URL" secret:"url"`
	// APIKey to accept; made and kept where empty. A secret.
	APIKey string `env:"API_KEY" secret:"true"`
	// Port of the API on 127.0.0.1.
	Port uint16 `env:"PORT" envDefault:"8080"`
	// ControlPort of the simulator's control API on 127.0.0.1.
	ControlPort uint16 `env:"SIM_CONTROL_PORT" envDefault:"8081"`
	// Connectors is how many connector processes run.
	Connectors int `env:"CONNECTORS" envDefault:"1"`
	// Slots of each connector.
	Slots int `env:"SLOTS" envDefault:"200"`
	// WhatsApp is real, sim, or auto: real where it answers.
	WhatsApp string `env:"WHATSAPP" envDefault:"auto"`
	// DialAddr, TLSCA and RootKey point every connector at another endpoint: all
	// three or none.
	DialAddr string `env:"WHATSAPP_DIAL_ADDR"`
	TLSCA    string `env:"WHATSAPP_TLS_CA"`
	RootKey  string `env:"WHATSAPP_NOISE_ROOT_KEY"`
	// Dialect is what an omitted config.store means.
	Dialect session.Dialect `env:"DEFAULT_STORE_DIALECT" envDefault:"sqlite3"`
	// CORSOrigins is a list with commas of the origins whose pages may call the
	// API, or *.
	CORSOrigins string `env:"CORS_ORIGINS"`
	// LogLevel of the API and the connectors.
	LogLevel string `env:"LOG_LEVEL" envDefault:"INFO"`
	// LogAll shows every log line on the terminal.
	LogAll bool `env:"LOG" envDefault:"false"`

	// Data is the absolute directory of all state.
	Data string
	// Inherited is what connectors get of the environment.
	Inherited []string
}

// settingsError is every mistake in the environment, by variable. No value is
// repeated in it: some are secrets.
type settingsError struct{ mistakes map[string]string }

func (e *settingsError) Error() string {
	var lines []string
	for _, variable := range slices.Sorted(maps.Keys(e.mistakes)) {
		lines = append(lines, variable+" "+e.mistakes[variable])
	}
	return strings.Join(lines, "\n")
}

// wrong notes a mistake; the first one of a variable counts.
func (e *settingsError) wrong(is bool, variable, problem string) {
	if _, known := e.mistakes[variable]; is && !known {
		e.mistakes[variable] = problem
	}
}

// readSettings reads and checks everything and reports all mistakes together.
func readSettings(environ []string, data string) (settings, error) {
	mistakes := &settingsError{map[string]string{}}
	set, unread := environment.ReadFrom[settings](environ)
	unread.Each(func(m *environment.Mistake) { mistakes.wrong(true, m.Variable, m.Problem) })
	var err error
	if set.Data, err = filepath.Abs(data); err != nil {
		return settings{}, fmt.Errorf("data directory: %w", err)
	}
	set.Inherited = inherited(environ)
	set.check(mistakes)
	set.checkOverride(mistakes)
	if len(mistakes.mistakes) > 0 {
		return settings{}, mistakes
	}
	return set, nil
}

func (s settings) check(m *settingsError) {
	m.wrong(s.Port == 0, "PORT", "must be 1 to 65535")
	m.wrong(s.ControlPort == 0, "SIM_CONTROL_PORT", "must be 1 to 65535")
	m.wrong(s.Port == s.ControlPort, "SIM_CONTROL_PORT", "must differ from PORT")
	m.wrong(s.Connectors < 0 || s.Connectors > maxConnectors, "CONNECTORS", fmt.Sprintf("must be 0 to %d", maxConnectors))
	m.wrong(s.Slots < 1, "SLOTS", "must be at least 1")
	m.wrong(s.WhatsApp != "auto" && s.WhatsApp != "real" && s.WhatsApp != "sim", "WHATSAPP", "must be real, sim or auto")
	m.wrong(s.Dialect != session.SQLite && s.Dialect != session.Postgres, "DEFAULT_STORE_DIALECT", "must be sqlite3 or postgres")
	if _, err := httpapi.ParseOrigins(s.CORSOrigins); err != nil {
		m.wrong(true, "CORS_ORIGINS", err.Error())
	}
	_, err := telemetry.ParseLevel(s.LogLevel)
	m.wrong(err != nil, "LOG_LEVEL", "must be DEBUG, INFO, WARN or ERROR")
	if s.APIKey != "" {
		_, _, err := apikey.Parse(s.APIKey)
		m.wrong(err != nil, "API_KEY", fmt.Sprintf("is not usable: %v", err))
	}
	if s.DatabaseURL != "" {
		if err := store.CheckURL(s.DatabaseURL); err != nil {
			m.wrong(true, "DATABASE_URL", "is not usable: "+err.Error())
		}
	}
}

// overridden says that the caller brought an endpoint.
func (s settings) overridden() bool { return s.DialAddr != "" }

func (s settings) checkOverride(m *settingsError) {
	if s.DialAddr == "" && s.TLSCA == "" && s.RootKey == "" {
		return
	}
	const together = "is missing: the endpoint override needs WHATSAPP_DIAL_ADDR, WHATSAPP_TLS_CA and WHATSAPP_NOISE_ROOT_KEY, all three or none"
	m.wrong(s.DialAddr == "", "WHATSAPP_DIAL_ADDR", together)
	m.wrong(s.TLSCA == "", "WHATSAPP_TLS_CA", together)
	m.wrong(s.RootKey == "", "WHATSAPP_NOISE_ROOT_KEY", together)

	host, port, err := net.SplitHostPort(s.DialAddr)
	m.wrong(err != nil || host == "" || port == "", "WHATSAPP_DIAL_ADDR", "must be host:port")
	pem, err := os.ReadFile(s.TLSCA)
	m.wrong(err != nil, "WHATSAPP_TLS_CA", "must name a file that can be read")
	m.wrong(!x509.NewCertPool().AppendCertsFromPEM(pem), "WHATSAPP_TLS_CA", "must name a file with a PEM certificate")
	key, err := hex.DecodeString(s.RootKey)
	m.wrong(err != nil || len(key) != 32, "WHATSAPP_NOISE_ROOT_KEY", "must be 64 hexadecimal digits")
}

// passedPrefixes and passedNames are what connectors inherit: their own
// settings, and what the operating system and the Go runtime need. Credentials
// of the shell, for a cloud say, stay out.
var (
	passedPrefixes = []string{"WHATSAPP_", "QR_", "LEASE_", "CONNECTS_"}
	passedNames    = []string{
		"PATH", "HOME", "TMPDIR", "TZ", "LANG", "SSL_CERT_FILE", "SSL_CERT_DIR",
		"HTTPS_PROXY", "https_proxy", "NO_PROXY", "no_proxy", "GODEBUG", "GOGC", "GOMEMLIMIT", "GOTRACEBACK", "GOCOVERDIR",
	}
)

func inherited(environ []string) []string {
	var passed []string
	for _, pair := range environ {
		if name, value, _ := strings.Cut(pair, "="); value != "" && isPassed(name) {
			passed = append(passed, pair)
		}
	}
	return passed
}

func isPassed(name string) bool {
	for _, prefix := range passedPrefixes {
		if strings.HasPrefix(name, prefix) {
			return true
		}
	}
	return slices.Contains(passedNames, name)
}
