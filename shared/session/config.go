package session

import (
	"encoding/json"
	"maps"
	"net/url"
	"slices"
	"strings"
)

// Dialect says where a session's device lives.
type Dialect string

const (
	SQLite   Dialect = "sqlite3"  // a file in the session's own data directory
	Postgres Dialect = "postgres" // the fleet's own database
)

// DefaultAddress is what an omitted config.store.address means.
const DefaultAddress = dataPrefix + "whatsmeow.db"

// LogLevel is how much of a session's doings goes to the connector's log.
type LogLevel string

const (
	LevelDebug LogLevel = "DEBUG"
	LevelInfo  LogLevel = "INFO"
	LevelWarn  LogLevel = "WARN"
	LevelError LogLevel = "ERROR"
)

// Config is what a caller may set about a session. The zero value is not
// valid; see [DefaultConfig] and [DecodeConfig].
type Config struct {
	Store    StoreConfig
	Log      LogConfig
	Webhooks []Webhook
	Proxy    *Proxy
	Metadata map[string]string
	// Extra holds fields that wafleet does not know, kept for the echo.
	Extra map[string]any
}

// StoreConfig says where the device is kept.
type StoreConfig struct {
	Dialect Dialect `json:"dialect"`
	Address string  `json:"address"` // as the caller wrote it
}

// LogConfig is this session's logging.
type LogConfig struct {
	Level LogLevel `json:"level"`
}

// Webhook is one receiver of a session's events.
type Webhook struct {
	URL           string         `json:"url"`
	Events        []string       `json:"events"`
	HMAC          *WebhookHMAC   `json:"hmac,omitempty"`
	Retries       *WebhookRetry  `json:"retries,omitempty"`
	CustomHeaders []CustomHeader `json:"customHeaders,omitempty"`
}

// WebhookHMAC signs deliveries. The key is a secret; it is empty in an echo, and
// then nothing is signed.
type WebhookHMAC struct {
	Key string `json:"key,omitempty"`
}

// WebhookRetry is the delivery policy.
type WebhookRetry struct {
	Policy       string `json:"policy"`
	DelaySeconds int    `json:"delaySeconds"`
	Attempts     int    `json:"attempts"`
}

// CustomHeader is sent with every delivery. Its value may be a secret.
type CustomHeader struct {
	Name  string `json:"name"`
	Value string `json:"value,omitempty"`
}

// Proxy is the way to WhatsApp for one session. Username and password are
// secrets of the tenant; the password is never echoed.
type Proxy struct {
	Server   string `json:"server"` // scheme://host:port, scheme http, https or socks5
	Username string `json:"username,omitempty"`
	Password string `json:"password,omitempty"`
}

// URL returns the proxy with its credentials, for the transport only.
func (p Proxy) URL() (*url.URL, error) {
	u, err := url.Parse(p.Server)
	if err != nil {
		return nil, err
	}
	if p.Username != "" {
		u.User = url.UserPassword(p.Username, p.Password)
	}
	return u, nil
}

// Defaults is what a deployment says about fields that a caller omits.
type Defaults struct {
	Dialect Dialect
}

// DefaultConfig is the config of a session started with an empty body.
func DefaultConfig(d Defaults) Config {
	if d.Dialect == "" {
		d.Dialect = SQLite
	}
	return Config{
		Store: StoreConfig{Dialect: d.Dialect, Address: DefaultAddress},
		Log:   LogConfig{Level: LevelInfo},
	}
}

// MarshalJSON writes the whole config, secrets included, for the database. Use
// [Config.Echo] for anything that leaves the system.
func (c Config) MarshalJSON() ([]byte, error) {
	fields := make(map[string]any, len(c.Extra)+5)
	maps.Copy(fields, c.Extra)
	fields["store"] = c.Store
	fields["log"] = c.Log
	if c.Webhooks != nil {
		fields["webhooks"] = c.Webhooks
	}
	if c.Proxy != nil {
		fields["proxy"] = c.Proxy
	}
	if c.Metadata != nil {
		fields["metadata"] = c.Metadata
	}
	return json.Marshal(fields)
}

// UnmarshalJSON reads what MarshalJSON wrote. Rules may have become stricter
// since: a stored config is taken as it is, and who uses a field checks it.
func (c *Config) UnmarshalJSON(data []byte) error {
	var ignored FieldErrors
	fields, err := parseObject(data, "config", &ignored)
	if err != nil {
		return err
	}
	*c = decodeConfig(fields, Defaults{})
	return nil
}

// Echo returns a copy without the secrets: what clients may read back. An echo
// that was stored and read is the same echo; see also [Config.HasSecrets].
func (c Config) Echo() Config {
	c.Webhooks = slices.Clone(c.Webhooks)
	for i, hook := range c.Webhooks {
		hook.URL = withoutUserinfo(hook.URL)
		if hook.HMAC != nil {
			hook.HMAC = &WebhookHMAC{}
		}
		hook.CustomHeaders = slices.Clone(hook.CustomHeaders)
		for j := range hook.CustomHeaders {
			hook.CustomHeaders[j].Value = ""
		}
		c.Webhooks[i] = hook
	}
	if c.Proxy != nil {
		c.Proxy = &Proxy{Server: withoutUserinfo(c.Proxy.Server), Username: c.Proxy.Username}
	}
	return c
}

// withoutUserinfo shows nothing of what it cannot take apart.
func withoutUserinfo(raw string) string {
	u, err := url.Parse(raw)
	if err != nil {
		return ""
	}
	if u.User == nil {
		return raw
	}
	u.User = nil
	return u.String()
}

// ParseLogLevel accepts any case.
func ParseLogLevel(s string) (LogLevel, bool) {
	level := LogLevel(strings.ToUpper(s))
	switch level {
	case LevelDebug, LevelInfo, LevelWarn, LevelError:
		return level, true
	}
	return "", false
}
