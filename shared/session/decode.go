package session

import (
	"maps"
	"net/url"
	"slices"
	"strings"
)

// Bounds of what a config may carry, far above any real use.
const (
	maxWebhooks     = 32
	maxHeaders      = 64
	maxEvents       = 64
	maxMetadata     = 64
	maxMetadataText = 1024
	maxURL          = 2048
)

// DecodeStart reads the body of a start request. It returns nil where the body
// carries no config, which keeps the stored one of an existing session. Its
// error is a [*FieldError] or [FieldErrors].
func DecodeStart(body []byte, d Defaults) (*Config, error) {
	var errs FieldErrors
	root, err := decodeObject(body, "", &errs)
	if err != nil {
		return nil, err
	}
	fields, ok := root.object("config")
	if !ok {
		return nil, errs.orNil()
	}
	config := decodeConfig(fields, d)
	if err := errs.orNil(); err != nil {
		return nil, err
	}
	return &config, nil
}

// DecodeUpdate reads the body of a request that replaces the config, which must
// be there. Its error is a [*FieldError] or [FieldErrors].
func DecodeUpdate(body []byte, d Defaults) (Config, error) {
	config, err := DecodeStart(body, d)
	if err == nil && config == nil {
		err = &FieldError{Field: "config", Problem: "is missing"}
	}
	if err != nil {
		return Config{}, err
	}
	return *config, nil
}

// Creation is the body of a request that creates a session.
type Creation struct {
	Name   Name    // empty: one is to be made up
	Start  bool    // at once
	Config *Config // nil: the default one
}

// DecodeCreate reads the body of a request that creates a session. Its error is
// a [*FieldError] or [FieldErrors].
func DecodeCreate(body []byte, d Defaults) (Creation, error) {
	var errs FieldErrors
	root, err := decodeObject(body, "", &errs)
	if err != nil {
		return Creation{}, err
	}
	c := Creation{Start: true}
	if text, ok := root.string("name"); ok {
		name, err := ParseName(text)
		if err != nil {
			root.fail("name", "%s", err.(*FieldError).Problem)
		}
		c.Name = name
	}
	if start, ok := root.bool("start"); ok {
		c.Start = start
	}
	if fields, ok := root.object("config"); ok {
		config := decodeConfig(fields, d)
		c.Config = &config
	}
	return c, errs.orNil()
}

// DecodeConfig reads a config object, fills defaults and reports every mistake
// at once, fields named from "config". Its error is a [*FieldError] or
// [FieldErrors].
func DecodeConfig(data []byte, d Defaults) (Config, error) {
	var errs FieldErrors
	fields, err := decodeObject(data, "config", &errs)
	if err != nil {
		return Config{}, err
	}
	config := decodeConfig(fields, d)
	return config, errs.orNil()
}

// DecodePhone reads the body of a pairing-code request: {"phone"} or
// {"phoneNumber"}, and the method, empty where none is given.
func DecodePhone(body []byte) (phone Phone, method string, err error) {
	var errs FieldErrors
	root, err := decodeObject(body, "", &errs)
	if err != nil {
		return "", "", err
	}
	method, _ = root.string("method")
	field := "phone"
	text, ok := root.string(field)
	if !ok {
		if other, found := root.string("phoneNumber"); found {
			field, text, ok = "phoneNumber", other, true
		}
	}
	if err := errs.orNil(); err != nil {
		return "", "", err
	}
	if !ok {
		return "", "", &FieldError{Field: "phone", Problem: "is missing"}
	}
	phone, err = ParsePhone(field, text)
	return phone, method, err
}

func decodeConfig(o object, d Defaults) Config {
	config := DefaultConfig(d)
	if store, ok := o.object("store"); ok {
		decodeStore(store, &config.Store)
	}
	if log, ok := o.object("log"); ok {
		if text, ok := log.string("level"); ok {
			if config.Log.Level, ok = ParseLogLevel(text); !ok {
				log.fail("level", "must be one of DEBUG, INFO, WARN, ERROR")
			}
		}
	}
	config.Webhooks = decodeWebhooks(o)
	config.Proxy = decodeProxy(o)
	config.Metadata = decodeMetadata(o)
	config.Extra = o.rest()
	return config
}

func decodeStore(o object, into *StoreConfig) {
	if text, ok := o.string("dialect"); ok {
		into.Dialect = Dialect(text)
		if into.Dialect != SQLite && into.Dialect != Postgres {
			o.fail("dialect", "must be sqlite3 or postgres")
			return
		}
	}
	if text, ok := o.string("address"); ok && text != "" {
		into.Address = text
	}
	switch into.Dialect {
	case SQLite:
		if _, err := DataPath(into.Address); err != nil {
			o.fail("address", "%s", err)
		}
	case Postgres:
		if into.Address != DefaultAddress {
			o.fail("address", "must be left out with dialect postgres: the device is kept in the fleet's own database")
		}
	}
}

func decodeWebhooks(o object) []Webhook {
	items := o.objects("webhooks")
	if len(items) > maxWebhooks {
		o.fail("webhooks", "must have at most %d entries", maxWebhooks)
		return nil
	}
	var hooks []Webhook
	for _, item := range items {
		hooks = append(hooks, decodeWebhook(item))
	}
	return hooks
}

func decodeWebhook(o object) Webhook {
	hook := Webhook{Events: o.strings("events")}
	if hook.Events == nil {
		hook.Events = []string{}
	}
	if len(hook.Events) > maxEvents {
		o.fail("events", "must have at most %d entries", maxEvents)
	}
	text, ok := o.string("url")
	switch {
	case !ok && o.fields["url"] == nil:
		o.fail("url", "is missing")
	case ok && !isHTTPURL(text):
		o.fail("url", "must be an http or https URL of at most %d characters", maxURL)
	}
	hook.URL = text
	if hmac, ok := o.object("hmac"); ok {
		key, _ := hmac.string("key")
		hook.HMAC = &WebhookHMAC{Key: key}
	}
	hook.Retries = decodeRetries(o)
	hook.CustomHeaders = decodeHeaders(o)
	return hook
}

func isHTTPURL(s string) bool {
	u, err := url.Parse(s)
	return err == nil && (u.Scheme == "http" || u.Scheme == "https") && u.Hostname() != "" && len(s) <= maxURL
}

func decodeRetries(o object) *WebhookRetry {
	fields, ok := o.object("retries")
	if !ok {
		return nil
	}
	retry := &WebhookRetry{Policy: "constant", DelaySeconds: 2, Attempts: 15}
	if text, ok := fields.string("policy"); ok {
		retry.Policy = text
		if !slices.Contains([]string{"constant", "linear", "exponential"}, text) {
			fields.fail("policy", "must be constant, linear or exponential")
		}
	}
	if n, ok := fields.integer("delaySeconds", 0, 3600); ok {
		retry.DelaySeconds = n
	}
	if n, ok := fields.integer("attempts", 0, 100); ok {
		retry.Attempts = n
	}
	return retry
}

func decodeHeaders(o object) []CustomHeader {
	items := o.objects("customHeaders")
	if len(items) > maxHeaders {
		o.fail("customHeaders", "must have at most %d entries", maxHeaders)
		return nil
	}
	var headers []CustomHeader
	for _, item := range items {
		name, _ := item.string("name")
		value, _ := item.string("value")
		if !isHeaderName(name) {
			item.fail("name", "must be a header name")
		}
		if strings.ContainsAny(value, "\r\n") {
			item.fail("value", "must be one line")
		}
		headers = append(headers, CustomHeader{Name: name, Value: value})
	}
	return headers
}

// isHeaderName follows RFC 9110's token.
func isHeaderName(s string) bool {
	if s == "" || len(s) > 128 {
		return false
	}
	for _, r := range s {
		letter := r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9'
		if !letter && !strings.ContainsRune("!#$%&'*+-.^_`|~", r) {
			return false
		}
	}
	return true
}

// decodeProxy accepts an object or a URL with the credentials in it.
func decodeProxy(o object) *Proxy {
	value, ok := o.take("proxy")
	if !ok {
		return nil
	}
	switch v := value.(type) {
	case string:
		if v == "" {
			return nil
		}
		u, err := url.Parse(v)
		if err != nil {
			o.fail("proxy", "must be a URL such as socks5://host:1080")
			return nil
		}
		proxy := &Proxy{}
		if u.User != nil {
			proxy.Username = u.User.Username()
			proxy.Password, _ = u.User.Password()
			u.User = nil
		}
		proxy.Server = u.String()
		checkProxyServer(o, "proxy", proxy.Server)
		return proxy
	case map[string]any:
		fields := o.child(join(o.path, "proxy"), v)
		proxy := &Proxy{}
		proxy.Server, _ = fields.string("server")
		proxy.Username, _ = fields.string("username")
		proxy.Password, _ = fields.string("password")
		if proxy.Server != "" && !strings.Contains(proxy.Server, "://") {
			proxy.Server = "http://" + proxy.Server // WAHA clients send host:port
		}
		checkProxyServer(fields, "server", proxy.Server)
		return proxy
	}
	o.fail("proxy", "must be an object or a string, not %s", kindOf(value))
	return nil
}

func checkProxyServer(o object, key, server string) {
	u, err := url.Parse(server)
	if err != nil || u.Hostname() == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" || len(server) > maxURL || !slices.Contains([]string{"http", "https", "socks5"}, u.Scheme) {
		o.fail(key, "must be a URL with the scheme http, https or socks5, such as socks5://host:1080")
	}
}

func decodeMetadata(o object) map[string]string {
	fields, ok := o.object("metadata")
	if !ok {
		return nil
	}
	if len(fields.fields) > maxMetadata {
		o.fail("metadata", "must have at most %d entries", maxMetadata)
		return nil
	}
	metadata := map[string]string{}
	for _, key := range slices.Sorted(maps.Keys(fields.fields)) {
		if text, ok := fields.string(key); ok {
			if len(text) > maxMetadataText {
				fields.fail(key, "must be at most %d characters", maxMetadataText)
			}
			metadata[key] = text
		}
	}
	return metadata
}
