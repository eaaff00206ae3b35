package e2e

import (
	"errors"
	"strings"

	"github.com/Shopify/toxiproxy/v2"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/rs/zerolog"
)

// link is the way from connectors to a server, which a test can spoil.
type link struct {
	*system
	proxy *toxiproxy.Proxy
}

func (s *system) link(upstream string) *link {
	s.Helper()
	server := toxiproxy.NewServer(toxiproxy.NewMetricsContainer(prometheus.NewRegistry()), zerolog.Nop())
	l := &link{system: s, proxy: toxiproxy.NewProxy(server, "link", "127.0.0.1:0", upstream)}
	l.restore()
	s.Cleanup(l.proxy.Stop)
	return l
}

// address is the link's near end, host:port.
func (l *link) address() string { return l.proxy.Listen }

// cut resets every connection and refuses new ones.
func (l *link) cut() { l.proxy.Stop() }

// swallow lets connections live and be made, on which nothing arrives.
func (l *link) swallow() {
	l.Helper()
	l.toxic(`{"type":"timeout","stream":"upstream","attributes":{"timeout":0}}`)
	l.toxic(`{"type":"timeout","stream":"downstream","attributes":{"timeout":0}}`)
}

// toxic adds a fault; see the documentation of toxiproxy for the words.
func (l *link) toxic(json string) {
	l.Helper()
	if _, err := l.proxy.Toxics.AddToxicJson(strings.NewReader(json)); err != nil {
		l.Fatal(err)
	}
}

// restore ends every fault.
func (l *link) restore() {
	l.Helper()
	l.proxy.Toxics.ResetToxics(l.Context())
	if err := l.proxy.Start(); err != nil && !errors.Is(err, toxiproxy.ErrProxyAlreadyStarted) {
		l.Fatal(err)
	}
}
