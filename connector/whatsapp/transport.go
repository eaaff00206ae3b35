package whatsapp

import (
	"context"
	"crypto/tls"
	"net"
	"net/http"
	"net/url"
	"time"

	"github.com/wafleet/wafleet/shared/session"
)

// Bounds of a connection attempt. whatsmeow holds its socket lock meanwhile and
// has no bound of its own for the dial.
const (
	dialTimeout    = 10 * time.Second
	upgradeTimeout = 20 * time.Second // dial, TLS and the websocket upgrade together
)

// transports makes the http.Client of every connection. Without a proxy all
// share one transport and its TLS sessions.
type transports struct {
	endpoint Endpoint
	direct   *http.Client
}

func newTransports(endpoint Endpoint) *transports {
	t := &transports{endpoint: endpoint}
	t.direct = t.client(nil)
	return t
}

// clientFor returns the way to WhatsApp for a session's proxy, or the direct
// one where it has none. A session with a proxy never goes around it: through
// one that cannot be used, every request fails.
func (t *transports) clientFor(p *session.Proxy) *http.Client {
	if p == nil {
		return t.direct
	}
	u, err := proxyURL(*p)
	if err != nil {
		return &http.Client{Transport: blocked{err}}
	}
	client := t.client(u)
	client.Transport = discreet{client.Transport, credentials(u)}
	return client
}

func (t *transports) client(proxy *url.URL) *http.Client {
	transport := &http.Transport{
		DialContext:         t.dial,
		TLSHandshakeTimeout: dialTimeout,
		TLSClientConfig: &tls.Config{
			RootCAs:            t.endpoint.Roots,
			MinVersion:         tls.VersionTLS12,
			ClientSessionCache: tls.NewLRUClientSessionCache(64),
		},
		// A socket belongs to the connection that asked for it: never pooled,
		// so that closing a term's sockets closes the right ones.
		DisableKeepAlives: true,
	}
	switch {
	case proxy != nil:
		transport.Proxy = http.ProxyURL(proxy)
		transport.OnProxyConnectResponse = onlyOK
	case !t.endpoint.Overridden():
		transport.Proxy = http.ProxyFromEnvironment
	}
	return &http.Client{Transport: uncompressed{transport}, Timeout: upgradeTimeout}
}

// dial goes to the override where WhatsApp is asked for, and puts the socket
// under the control of the connection that the context belongs to.
func (t *transports) dial(ctx context.Context, network, address string) (net.Conn, error) {
	if t.endpoint.Overridden() && address == realHost {
		address = t.endpoint.DialAddr
	}
	dialer := net.Dialer{Timeout: dialTimeout, KeepAlive: 30 * time.Second}
	conn, err := dialer.DialContext(ctx, network, address)
	if err != nil {
		return nil, err
	}
	if owned, ok := ctx.Value(socketsKey{}).(*sockets); ok {
		return owned.adopt(conn)
	}
	return conn, nil
}

// uncompressed removes the offer to compress: a compressed socket would keep
// 1.4 MB of dictionaries per session.
type uncompressed struct{ next http.RoundTripper }

func (u uncompressed) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.Header.Get("Sec-Websocket-Extensions") != "" {
		r = r.Clone(r.Context())
		r.Header.Del("Sec-Websocket-Extensions")
	}
	return u.next.RoundTrip(r)
}
