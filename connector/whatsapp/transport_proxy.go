package whatsapp

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/wafleet/wafleet/shared/session"
)

// What is said of proxies, without a word of theirs: it goes to the log.
var (
	errProxyURL      = errors.New("config.proxy.server must be a URL with the scheme http, https or socks5")
	errProxyRepeated = errors.New("the proxy failed; the reason is left out, because it repeats credentials")
)

// proxyURL checks what may have been stored before a rule was there. net/http
// would take another scheme for http, and a missing host for this machine.
func proxyURL(p session.Proxy) (*url.URL, error) {
	u, err := p.URL()
	if err != nil || u.Hostname() == "" || !slices.Contains([]string{"http", "https", "socks5"}, u.Scheme) {
		return nil, errProxyURL // the parser's text has the whole URL
	}
	return u, nil
}

// onlyOK refuses a tunnel that the proxy refuses. net/http would do so with the
// proxy's own words.
func onlyOK(_ context.Context, _ *url.URL, _ *http.Request, answer *http.Response) error {
	if answer.StatusCode != http.StatusOK {
		return fmt.Errorf("the proxy answered %d", answer.StatusCode)
	}
	return nil
}

// blocked is no way at all.
type blocked struct{ why error }

func (b blocked) RoundTrip(*http.Request) (*http.Response, error) { return nil, b.why }

// discreet keeps errors back that repeat credentials: net/http quotes an answer
// that it does not understand, and a proxy may answer anything.
type discreet struct {
	next        http.RoundTripper
	credentials []string
}

func (d discreet) RoundTrip(r *http.Request) (*http.Response, error) {
	response, err := d.next.RoundTrip(r)
	if err != nil && slices.ContainsFunc(d.credentials, func(secret string) bool { return strings.Contains(err.Error(), secret) }) {
		return nil, errProxyRepeated
	}
	return response, err
}

// credentials are a proxy's password, as it is and as it is sent.
func credentials(u *url.URL) []string {
	password, _ := u.User.Password()
	if password == "" {
		return nil
	}
	return []string{password, url.QueryEscape(password), base64.StdEncoding.EncodeToString([]byte(u.User.Username() + ":" + password))}
}
