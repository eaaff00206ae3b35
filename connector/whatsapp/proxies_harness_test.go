package whatsapp

import (
	"bufio"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"log/slog"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httptrace"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/wafleet/wafleet/shared/session"
)

const (
	proxyUser     = "user"
	proxyPassword = "s3cr3t"
	proxyBasic    = "Basic dXNlcjpzM2NyM3Q=" // of both
)

// proxied is a rig whose sessions get to the simulator through a proxy only:
// what is dialled directly ends at a wire that nobody may touch.
type proxied struct {
	*rig
	tripped atomic.Int32
	cert    tls.Certificate // of https proxies; the sessions trust it
}

func newProxied(t *testing.T) *proxied {
	t.Helper()
	p := &proxied{rig: newRig(t)}
	wire := listen(t, func(conn net.Conn) {
		p.tripped.Add(1)
		conn.Close()
	})
	lender := httptest.NewTLSServer(nil)
	lender.Close()
	p.cert = lender.TLS.Certificates[0]
	endpoint := p.endpoint()
	endpoint.DialAddr = wire
	endpoint.Roots.AddCert(lender.Certificate())
	var err error
	p.rig.devices, err = New(Config{Endpoint: endpoint, DataDir: p.dataDir, DB: p.fleet.DB()}, p.fleet, p.log.logger(slog.LevelDebug))
	p.must(err)
	t.Cleanup(p.rig.devices.Wait)
	return p
}

// session has a proxy.
func (p *proxied) session(proxy session.Proxy) *holding {
	p.Helper()
	h, err := p.as(func(term *Term) {
		term.Config.Proxy = &proxy
		term.Config.Store.Dialect = session.Postgres
	})
	p.must(err)
	return h
}

// untouched checks that nothing was dialled but the proxy, and no name resolved.
func (p *proxied) untouched(dials *dials, address string) {
	p.Helper()
	if n := p.tripped.Load(); n != 0 {
		p.Errorf("WhatsApp was dialled directly %d times", n)
	}
	for _, dialled := range dials.list() {
		if dialled != address {
			p.Errorf("dialled %s, the proxy is %s", dialled, address)
		}
	}
}

// discreet checks that no credential, nor what a proxy says, is in a text or in the log.
func (p *proxied) discreet(text string) {
	p.Helper()
	for _, secret := range []string{proxyPassword, "dXNlcjpz", "wrong", "dXNlcjp3", "manners"} {
		if strings.Contains(text, secret) || strings.Contains(p.log.String(), secret) {
			p.Errorf("%s tells %q; log:\n%s", text, secret, p.log.String())
		}
	}
}

// dials are all connections and look-ups that were begun with a context.
type dials struct {
	mu  sync.Mutex
	all []string // guarded by mu
}

func (d *dials) traced(ctx context.Context) context.Context {
	return httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{
		DNSStart:     func(info httptrace.DNSStartInfo) { d.add("DNS " + info.Host) },
		ConnectStart: func(_, address string) { d.add(address) },
	})
}

func (d *dials) add(what string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.all = append(d.all, what)
}

func (d *dials) list() []string {
	d.mu.Lock()
	defer d.mu.Unlock()
	return append([]string(nil), d.all...)
}

// listen hands every connection to do, one after the other, until the test ends.
func listen(t *testing.T, do func(net.Conn)) (address string) {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var loop sync.WaitGroup
	loop.Go(func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			do(conn)
		}
	})
	t.Cleanup(func() {
		listener.Close()
		loop.Wait()
	})
	return listener.Addr().String()
}

// keeper is a proxy of one scheme that may want credentials.
type keeper struct {
	*proxy
	address string
	scheme  string
	closed  bool // it wants user and password
}

func (p *proxied) keeper(scheme string, closed bool) *keeper {
	p.Helper()
	k := &keeper{proxy: &proxy{to: p.sim.DialAddr()}, scheme: scheme, closed: closed}
	if scheme == "socks5" {
		k.address = listen(p.T, func(conn net.Conn) { k.all.Go(func() { k.socks(conn) }) })
		p.Cleanup(func() { k.cut(); k.all.Wait() })
		return k
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	p.must(err)
	k.address = listener.Addr().String()
	if scheme == "https" {
		listener = tls.NewListener(listener, &tls.Config{Certificates: []tls.Certificate{p.cert}})
	}
	server := &http.Server{Handler: k, ErrorLog: slog.NewLogLogger(slog.DiscardHandler, slog.LevelInfo)}
	k.all.Go(func() { server.Serve(listener) })
	p.Cleanup(func() { server.Close(); k.cut(); k.all.Wait() })
	return k
}

// ServeHTTP refuses in its own words.
func (k *keeper) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if got := r.Header.Get("Proxy-Authorization"); k.closed && got != proxyBasic {
		near, _, err := w.(http.Hijacker).Hijack()
		if err == nil {
			io.WriteString(near, "HTTP/1.1 407 no manners\r\n\r\n")
			near.Close()
		}
		return
	}
	k.proxy.ServeHTTP(w, r)
}

// socks speaks as much of RFC 1928 and RFC 1929 as a client may ask for.
func (k *keeper) socks(conn net.Conn) {
	defer conn.Close()
	read := bufio.NewReader(conn)
	field := func() string { // a length and as many bytes
		n, _ := read.ReadByte()
		text := make([]byte, n)
		io.ReadFull(read, text)
		return string(text)
	}
	read.ReadByte() // version
	methods, credentials := field(), ""
	switch {
	case strings.Contains(methods, "\x02"):
		conn.Write([]byte{5, 2})
		read.ReadByte()
		credentials = field() + ":" + field()
		if k.closed && credentials != proxyUser+":"+proxyPassword {
			conn.Write([]byte{1, 1})
			return
		}
		conn.Write([]byte{1, 0})
	case k.closed:
		conn.Write([]byte{5, 0xff})
		return
	default:
		conn.Write([]byte{5, 0})
	}
	request := make([]byte, 4)
	io.ReadFull(read, request)
	if request[3] != 3 { // not a name: somebody has resolved it
		conn.Write([]byte{5, 8, 0, 1, 0, 0, 0, 0, 0, 0})
		return
	}
	host, port := field(), make([]byte, 2)
	io.ReadFull(read, port)
	k.mu.Lock()
	k.asked = append(k.asked, fmt.Sprintf("SOCKS %s:%d %s", host, int(port[0])<<8|int(port[1]), credentials))
	k.mu.Unlock()
	far, err := net.Dial("tcp", k.to)
	if err != nil {
		return
	}
	defer far.Close()
	k.mu.Lock()
	k.open = append(k.open, conn, far)
	k.mu.Unlock()
	conn.Write([]byte{5, 0, 0, 1, 0, 0, 0, 0, 0, 0})
	k.all.Go(func() { io.Copy(far, read); far.Close() })
	io.Copy(conn, far)
}

// selfSigned is a certificate that nobody trusts.
func selfSigned(t *testing.T) tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour), IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}
