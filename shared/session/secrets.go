package session

import "fmt"

// Stored is a config as the database has it.
type Stored struct {
	Config  Config // without its secrets
	Secrets []byte // the whole config, encrypted; nil where it has none
}

// SecretsContext is what a tenant's encrypted secrets are bound to: they do not
// open for another.
func SecretsContext(tenant TenantID) []byte { return []byte("config of tenant " + string(tenant)) }

// HasSecrets reports whether [Config.Echo] takes anything away.
func (c Config) HasSecrets() bool {
	_, found := c.FirstSecret()
	return found
}

// FirstSecret names a field that [Config.Echo] takes something away from, as the
// caller wrote it, and reports whether there is one.
func (c Config) FirstSecret() (field string, found bool) {
	if p := c.Proxy; p != nil {
		switch {
		case p.Password != "":
			return "config.proxy.password", true
		case p.Server != withoutUserinfo(p.Server):
			return "config.proxy.server", true
		}
	}
	for i, hook := range c.Webhooks {
		if field, found := hook.firstSecret(); found {
			return fmt.Sprintf("config.webhooks[%d].%s", i, field), true
		}
	}
	return "", false
}

func (w Webhook) firstSecret() (field string, found bool) {
	if w.URL != withoutUserinfo(w.URL) {
		return "url", true
	}
	if w.HMAC != nil && w.HMAC.Key != "" {
		return "hmac.key", true
	}
	for i, header := range w.CustomHeaders {
		if header.Value != "" {
			return fmt.Sprintf("customHeaders[%d].value", i), true
		}
	}
	return "", false
}
