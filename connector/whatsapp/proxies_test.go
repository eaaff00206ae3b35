package whatsapp

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/wafleet/wafleet/connector/event"
	"github.com/wafleet/wafleet/shared/session"
)

func TestEverythingOfASessionGoesThroughItsProxy(t *testing.T) {
	t.Parallel()
	p := newProxied(t)
	for _, scheme := range []string{"http", "https", "socks5"} {
		for _, closed := range []bool{false, true} {
			k := p.keeper(scheme, closed)
			config, credentials := session.Proxy{Server: scheme + "://" + k.address}, ""
			if closed {
				config.Username, config.Password = proxyUser, proxyPassword
				credentials = proxyBasic
				if scheme == "socks5" {
					credentials = proxyUser + ":" + proxyPassword
				}
			}
			h, seen := p.session(config), &dials{}
			conn, err := h.Connect(seen.traced(t.Context()), "", func(e event.Event) { h.events <- e })
			p.must(err)
			await[event.QR](h)
			// whatsmeow uses one client for its socket, before and after a login, and one for media.
			for _, field := range []string{"websocketHTTP", "preLoginHTTP", "mediaHTTP"} {
				if got := reflect.ValueOf(conn.client).Elem().FieldByName(field).Pointer(); got != reflect.ValueOf(h.Device.client).Pointer() {
					t.Errorf("%s is not the session's client", field)
				}
			}
			conn.Close()
			askMedia(h, seen)
			verb := "CONNECT "
			if scheme == "socks5" {
				verb = "SOCKS "
			}
			want := []string{verb + "web.whatsapp.com:443 " + credentials, verb + "mmg.whatsapp.net:443 " + credentials}
			if got := k.requests(); !reflect.DeepEqual(got, want) {
				t.Errorf("%s: the proxy was asked %q, want %q", scheme, got, want)
			}
			if got := seen.list(); len(got) != len(want) {
				t.Errorf("%s: dialled %q", scheme, got)
			}
			p.untouched(seen, k.address)
		}
	}
	p.discreet("")
}

// askMedia asks a host whose certificate the simulator does not have: what
// counts is the way there.
func askMedia(h *holding, seen *dials) {
	h.Helper()
	request, err := http.NewRequestWithContext(seen.traced(h.Context()), http.MethodGet, "https://mmg.whatsapp.net/x", nil)
	h.must(err)
	if response, err := h.Device.client.Do(request); err == nil {
		response.Body.Close()
		h.Error("the simulator answers for mmg.whatsapp.net")
	}
}

func TestAProxyThatFailsIsNotGoneAround(t *testing.T) {
	t.Parallel()
	p := newProxied(t)
	hangUp := listen(t, func(conn net.Conn) { conn.Close() })
	quotes := listen(t, func(conn net.Conn) {
		conn.Read(make([]byte, 4096))
		io.WriteString(conn, "HTTP/1.1 "+proxyPassword+" "+proxyBasic+"\r\n\r\n")
		conn.Close()
	})
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	p.must(err)
	closedPort := taken.Addr().String()
	p.must(taken.Close())
	unknown := &proxied{rig: p.rig, cert: selfSigned(t)}
	for name, tt := range map[string]struct{ server, password string }{
		"http, wrong password":       {"http://" + p.keeper("http", true).address, "wrong"},
		"https, wrong password":      {"https://" + p.keeper("https", true).address, "wrong"},
		"socks5, wrong password":     {"socks5://" + p.keeper("socks5", true).address, "wrong"},
		"http, closed port":          {"http://" + closedPort, proxyPassword},
		"https, closed port":         {"https://" + closedPort, proxyPassword},
		"socks5, closed port":        {"socks5://" + closedPort, proxyPassword},
		"http, hangs up":             {"http://" + hangUp, proxyPassword},
		"https, hangs up":            {"https://" + hangUp, proxyPassword},
		"socks5, hangs up":           {"socks5://" + hangUp, proxyPassword},
		"http, quotes":               {"http://" + quotes, proxyPassword},
		"https, quotes":              {"https://" + quotes, proxyPassword},
		"socks5, quotes":             {"socks5://" + quotes, proxyPassword},
		"https, unknown certificate": {"https://" + unknown.keeper("https", false).address, proxyPassword},
		"https, without TLS":         {"https://" + p.keeper("http", false).address, proxyPassword},
		"http, with TLS":             {"http://" + p.keeper("https", false).address, proxyPassword},
		"http at a socks5 one":       {"http://" + p.keeper("socks5", false).address, proxyPassword},
		"of no known scheme":         {"ftp://user:" + proxyPassword + "@" + hangUp, proxyPassword},
		"without a host":             {"http://", proxyPassword},
		"without a scheme":           {hangUp, proxyPassword},
		"no URL":                     {"http://user:" + proxyPassword + "@\x7f", proxyPassword},
		"none at all":                {"", proxyPassword},
	} {
		t.Run(name, func(t *testing.T) {
			h, seen := p.session(session.Proxy{Server: tt.server, Username: proxyUser, Password: tt.password}), &dials{}
			conn, err := h.Connect(seen.traced(t.Context()), "", func(e event.Event) { h.events <- e })
			if err == nil {
				conn.Close()
				t.Fatal("connected")
			}
			_, address, _ := strings.Cut(tt.server, "://")
			p.untouched(seen, address)
			p.discreet(err.Error())
		})
	}
	if got := p.sim.Stats().Handshakes; got != 0 {
		t.Errorf("%d handshakes", got)
	}
}

// TestTheVersionIsAskedForThroughTheProxy where a session has one. The silence
// of one proxy holds up nobody else.
func TestTheVersionIsAskedForThroughTheProxy(t *testing.T) {
	t.Parallel()
	p := newProxied(t)
	asked := make(chan struct{})
	silent := listen(t, func(conn net.Conn) {
		close(asked)
		io.Copy(io.Discard, conn)
		conn.Close()
	})
	k := p.keeper("socks5", false)
	versions := p.rig.devices.Versions()
	refused := versions.Current()
	impatient, leave := context.WithCancel(t.Context())
	failed := make(chan error, 1)
	blocked := p.session(session.Proxy{Server: "http://" + silent})
	go func() { failed <- blocked.RefreshVersion(impatient, refused) }()
	<-asked
	h := p.session(session.Proxy{Server: "socks5://" + k.address})
	p.must(h.RefreshVersion(t.Context(), refused))
	if versions.Current() != announced || len(k.requests()) != 1 {
		t.Errorf("version %s, the proxy was asked %q", versions.Current(), k.requests())
	}
	if stored, _, err := p.fleet.ClientVersion(t.Context()); err != nil || stored != announced {
		t.Errorf("stored %q, %v", stored, err)
	}
	p.must(h.RefreshVersion(t.Context(), refused)) // it is replaced already: nobody is asked
	leave()
	if err := <-failed; !errors.Is(err, event.ErrVersionUnknown) {
		t.Errorf("without an answer: %v", err)
	}
	if len(k.requests()) != 1 {
		t.Errorf("asked again: %q", k.requests())
	}
	p.untouched(&dials{}, "")
}

// TestASilentProxyIsGivenUp in the time of a dial, wherever it falls silent.
func TestASilentProxyIsGivenUp(t *testing.T) {
	t.Parallel()
	p := newProxied(t)
	for _, scheme := range []string{"http", "https", "socks5"} {
		gone := make(chan struct{})
		silent := listen(t, func(conn net.Conn) {
			io.Copy(io.Discard, conn) // until the session hangs up
			conn.Close()
			close(gone)
		})
		h, seen := p.session(session.Proxy{Server: scheme + "://" + silent, Username: proxyUser, Password: proxyPassword}), &dials{}
		if got := h.Device.client.Timeout; got != upgradeTimeout {
			t.Errorf("%s: bounded by %v", scheme, got)
		}
		hasty := *h.Device.client
		hasty.Timeout = 100 * time.Millisecond
		h.Device.client = &hasty
		_, err := h.Connect(seen.traced(t.Context()), "", func(event.Event) {})
		if err == nil || errors.Is(err, context.Canceled) {
			t.Fatalf("%s: %v", scheme, err)
		}
		select {
		case <-gone:
		case <-time.After(patience):
			t.Fatalf("%s: the proxy was not asked, or its socket is open", scheme)
		}
		p.untouched(seen, silent)
		p.discreet(err.Error())
	}
}
