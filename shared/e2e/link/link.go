// Package link is the way from one program to another that a test can spoil: a
// proxy on loopback, by toxiproxy, whose documentation explains the toxics.
package link

import (
	"errors"
	"fmt"
	"net/url"
	"strings"
	"testing"

	"github.com/Shopify/toxiproxy/v2"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/rs/zerolog"
	"go.uber.org/goleak"
)

// Leftovers are the goroutines that toxiproxy leaves of some links whose toxic is
// removed, or whose proxy stops, while data comes in: what is before the toxic
// waits for a reader for ever. Tests that look for leaks must let them pass.
var Leftovers = []goleak.Option{
	goleak.IgnoreAnyFunction("github.com/Shopify/toxiproxy/v2/toxics.(*ToxicStub).Run"),
	goleak.IgnoreAnyFunction("github.com/Shopify/toxiproxy/v2.(*ToxicLink).read"),
}

// Both are the two directions of a link.
const Both = "upstream downstream"

func init() {
	zerolog.SetGlobalLevel(zerolog.Disabled) // toxiproxy's toxics have a logger of their own
}

// Link is one way to one upstream, open until the test ends.
type Link struct {
	testing.TB
	proxy *toxiproxy.Proxy
}

// New opens the way from listen, host:port, whose port may be 0, to upstream.
func New(t testing.TB, listen, upstream string) *Link {
	t.Helper()
	server := toxiproxy.NewServer(toxiproxy.NewMetricsContainer(prometheus.NewRegistry()), zerolog.Nop())
	l := &Link{TB: t, proxy: toxiproxy.NewProxy(server, "link", listen, upstream)}
	l.open()
	t.Cleanup(l.proxy.Stop)
	return l
}

// ToDatabase opens the way to the Postgres of a URL, and returns the URL that goes
// this way.
func ToDatabase(t testing.TB, direct string) (l *Link, spoilable string) {
	t.Helper()
	u, err := url.Parse(direct)
	if err != nil {
		t.Fatal(err)
	}
	l = New(t, "127.0.0.1:0", u.Host)
	u.Host = l.Address()
	return l, u.String()
}

// Address is the near end, host:port.
func (l *Link) Address() string { return l.proxy.Listen }

// Cut closes every connection and refuses new ones.
func (l *Link) Cut() { l.proxy.Stop() }

// Swallow lets connections live and be made, on which nothing arrives.
func (l *Link) Swallow() {
	l.Helper()
	l.Spoil("timeout", Both, `{"timeout":0}`)
}

// Spoil adds a toxic to the given directions. They do not stack well.
func (l *Link) Spoil(toxic, streams, attributes string) {
	l.Helper()
	for stream := range strings.FieldsSeq(streams) {
		json := fmt.Sprintf(`{"type":%q,"stream":%q,"attributes":%s}`, toxic, stream, attributes)
		if _, err := l.proxy.Toxics.AddToxicJson(strings.NewReader(json)); err != nil {
			l.Errorf("toxic %s: %v", json, err)
		}
	}
}

// Restore ends every fault.
func (l *Link) Restore() {
	l.Helper()
	l.proxy.Toxics.ResetToxics(l.Context())
	l.open()
}

func (l *Link) open() {
	l.Helper()
	if err := l.proxy.Start(); err != nil && !errors.Is(err, toxiproxy.ErrProxyAlreadyStarted) {
		l.Errorf("open the link: %v", err)
	}
}
