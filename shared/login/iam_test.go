package login

import (
	"bufio"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"net/url"
	"strings"
	"testing"

	"github.com/wafleet/wafleet/shared/session"
	"github.com/wafleet/wafleet/shared/store"
)

// TestATokenIsMadeForEveryConnection: what RDS gets in the place of a password.
func TestATokenIsMadeForEveryConnection(t *testing.T) {
	t.Parallel()
	server := newServer(t, "")
	from := FromIAM("127.0.0.1", server.port, "app")
	s := opened(t, server.url, store.Options{MaxOpen: 2, Credentials: from})
	for range 3 { // pings of one connection
		if err := s.Ping(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	conn, err := s.DB().Conn(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if err := s.Ping(t.Context()); err != nil { // on a second one
		t.Fatal(err)
	}
	for range 2 {
		in := <-server.logins
		if in.User != "app" {
			t.Errorf("user %q", in.User)
		}
		checkToken(t, in.Password, "127.0.0.1:"+server.port)
	}
	select {
	case in := <-server.logins:
		t.Errorf("a third login of %s", in.User)
	default:
	}
}

// checkToken holds a token against what AWS documents: a request for
// rds-db:connect that is signed in its query and lasts 15 minutes.
func checkToken(t *testing.T, token, endpoint string) {
	t.Helper()
	u, err := url.Parse("https://" + token)
	if err != nil {
		t.Fatal("the token is no URL")
	}
	query := u.Query()
	scope := strings.Split(query.Get("X-Amz-Credential"), "/")
	if u.Host != endpoint || query.Get("Action") != "connect" || query.Get("DBUser") != "app" || query.Get("X-Amz-Expires") != "900" ||
		len(query.Get("X-Amz-Signature")) != 64 || len(scope) != 5 || scope[0] != "AKIDEXAMPLE" || scope[2] != "eu-central-1" || scope[3] != "rds-db" {
		t.Errorf("host %s, action %s, user %s, lasts %s, scope %q", u.Host, query.Get("Action"), query.Get("DBUser"), query.Get("X-Amz-Expires"), scope)
	}
}

func TestARefusedTokenIsNotTriedAgain(t *testing.T) {
	t.Parallel()
	server := newServer(t, "28000")
	s := opened(t, server.url, store.Options{Credentials: FromIAM("127.0.0.1", server.port, "app")})
	err := s.Ping(t.Context())
	if !errors.Is(err, session.ErrUnavailable) || strings.Contains(err.Error(), "X-Amz") {
		t.Errorf("error %v", err)
	}
	if n := len(server.logins); n != 1 {
		t.Errorf("%d logins", n)
	}
}

// The environment belongs to the process, so this one is not parallel.
func TestATokenNeedsARegionAndCredentials(t *testing.T) {
	t.Setenv("AWS_REGION", "")
	if _, err := FromIAM("h", "5432", "app").Login(t.Context()); err == nil || !strings.Contains(err.Error(), "AWS_REGION") {
		t.Errorf("error %v", err)
	}
	t.Setenv("AWS_REGION", "eu-central-1")
	t.Setenv("AWS_ACCESS_KEY_ID", "")
	if _, err := FromIAM("h", "5432", "app").Login(t.Context()); !errors.Is(err, session.ErrUnavailable) {
		t.Errorf("error %v", err)
	}
}

// server is as much of Postgres as RDS shows to a token: it asks for it in clear,
// and answers empty statements.
type server struct {
	url, port string
	refuses   string // SQLSTATE; empty: it takes everything
	logins    chan store.Login
}

func newServer(t *testing.T, refuses string) *server {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	_, port, _ := net.SplitHostPort(listener.Addr().String())
	s := &server{
		url: "postgres://nobody@127.0.0.1:" + port + "/db?sslmode=disable", port: port, refuses: refuses, logins: make(chan store.Login, 10),
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			go s.serve(conn) // ends with the client's connection
		}
	}()
	t.Cleanup(func() {
		listener.Close()
		<-ended
	})
	return s
}

func (s *server) serve(conn net.Conn) {
	defer conn.Close()
	in := bufio.NewReader(conn)
	startup, err := body(in)
	if err != nil {
		return
	}
	words := strings.Split(string(startup[4:]), "\x00")
	var who store.Login
	for i := 0; i+1 < len(words); i += 2 {
		if words[i] == "user" {
			who.User = words[i+1]
		}
	}
	write(conn, 'R', "\x00\x00\x00\x03") // AuthenticationCleartextPassword
	if kind, _ := in.ReadByte(); kind != 'p' {
		return
	}
	password, err := body(in)
	if err != nil {
		return
	}
	who.Password = strings.TrimSuffix(string(password), "\x00")
	s.logins <- who
	if s.refuses != "" {
		write(conn, 'E', "SFATAL\x00VFATAL\x00C"+s.refuses+"\x00MPAM authentication failed for user \"app\"\x00\x00")
		return
	}
	write(conn, 'R', "\x00\x00\x00\x00")
	write(conn, 'Z', "I")
	for {
		kind, err := in.ReadByte()
		if err != nil || kind != 'Q' {
			return
		}
		if _, err := body(in); err != nil {
			return
		}
		write(conn, 'I', "") // EmptyQueryResponse
		write(conn, 'Z', "I")
	}
}

// body reads a length and what it counts.
func body(in *bufio.Reader) ([]byte, error) {
	var length [4]byte
	if _, err := io.ReadFull(in, length[:]); err != nil {
		return nil, err
	}
	text := make([]byte, binary.BigEndian.Uint32(length[:])-4)
	_, err := io.ReadFull(in, text)
	return text, err
}

func write(out io.Writer, kind byte, text string) {
	message := append([]byte{kind}, binary.BigEndian.AppendUint32(nil, uint32(len(text)+4))...)
	_, _ = out.Write(append(message, text...))
}
