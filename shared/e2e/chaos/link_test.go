package chaos

import (
	"fmt"
	"strings"
	"testing"

	"github.com/Shopify/toxiproxy/v2"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/rs/zerolog"
)

// link is the way of one connector to Postgres or to WhatsApp.
type link struct {
	testing.TB
	proxy *toxiproxy.Proxy
}

func newLink(t testing.TB, name, upstream string) *link {
	t.Helper()
	server := toxiproxy.NewServer(toxiproxy.NewMetricsContainer(prometheus.NewRegistry()), zerolog.Nop())
	l := &link{t, toxiproxy.NewProxy(server, name, "127.0.0.1:0", upstream)}
	if err := l.proxy.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(l.proxy.Stop)
	return l
}

// spoil begins a fault of the link.
func (l *link) spoil(k kind) {
	const both = "upstream downstream"
	switch k {
	case cut: // connections are closed, new ones refused
		l.proxy.Stop()
	case blackHole:
		l.toxic("timeout", both, `{"timeout":0}`)
	case loseAnswers: // what is asked arrives and is done
		l.toxic("timeout", "downstream", `{"timeout":0}`)
	case slow:
		l.toxic("latency", "downstream", `{"latency":250,"jitter":150}`)
	case throttle: // KB/s
		l.toxic("bandwidth", both, `{"rate":8}`)
	}
}

func (l *link) toxic(name, streams, attributes string) {
	for stream := range strings.FieldsSeq(streams) {
		toxic := fmt.Sprintf(`{"type":%q,"stream":%q,"attributes":%s}`, name, stream, attributes)
		if _, err := l.proxy.Toxics.AddToxicJson(strings.NewReader(toxic)); err != nil {
			l.Errorf("toxic %s: %v", toxic, err)
		}
	}
}

// mend ends whatever fault there is.
func (l *link) mend(k kind) {
	if k == cut {
		if err := l.proxy.Start(); err != nil {
			l.Errorf("restore the link: %v", err)
		}
		return
	}
	l.proxy.Toxics.ResetToxics(l.Context())
}
