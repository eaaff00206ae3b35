package login

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/wafleet/wafleet/shared/login/fakesecrets"
	"github.com/wafleet/wafleet/shared/pgtest"
	"github.com/wafleet/wafleet/shared/session"
	"github.com/wafleet/wafleet/shared/store"
)

// manager is the AWS of all tests of the process: the SDK finds it in the
// environment.
var manager fakesecrets.Manager

func TestMain(m *testing.M) {
	server := httptest.NewServer(&manager)
	for _, variable := range append(fakesecrets.Environment(server.URL), "AWS_REGION=eu-central-1") {
		name, value, _ := strings.Cut(variable, "=")
		os.Setenv(name, value)
	}
	for _, name := range []string{"AWS_PROFILE", "AWS_SESSION_TOKEN", "HTTP_PROXY", "http_proxy"} {
		os.Unsetenv(name)
	}
	goleak.VerifyTestMain(closing{pgtest.Wrap(m), server})
}

// closing ends the far side, and with it the SDK's idle connections.
type closing struct {
	tests interface{ Run() int }
	far   *httptest.Server
}

func (c closing) Run() int {
	defer c.far.Close()
	return c.tests.Run()
}

func TestASecretIsReadOnceForAll(t *testing.T) {
	t.Parallel()
	kept := manager.NewSecret(t, "master", "one")
	from := FromSecret(kept.ARN, "")
	if kept.Read.Load() != 0 {
		t.Fatal("it was read before anybody asked")
	}
	var all sync.WaitGroup
	for range 20 {
		all.Go(func() {
			if got, err := from.Login(t.Context()); err != nil || got != (store.Login{User: "master", Password: "one"}) {
				t.Errorf("login %v, error %v", got, err)
			}
		})
	}
	all.Wait()
	if n := kept.Read.Load(); n != 1 {
		t.Errorf("read %d times", n)
	}
}

func TestARefusedLoginIsReadAgain(t *testing.T) {
	t.Parallel()
	kept := manager.NewSecret(t, "master", "one")
	from := FromSecret(kept.ARN, "")
	from.pause = time.Hour
	one, err := from.Login(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	kept.Rotate("master", "two")
	two, err := from.Renew(t.Context(), one)
	if err != nil || two.Password != "two" {
		t.Fatalf("login %q, error %v", two.Password, err)
	}
	// Who was refused with the old one needs no read of its own.
	if again, err := from.Renew(t.Context(), one); err != nil || again != two || kept.Read.Load() != 2 {
		t.Errorf("error %v, %d reads", err, kept.Read.Load())
	}
	// A refusal of what is current costs one read, not one for each connection.
	for range 5 {
		if same, err := from.Renew(t.Context(), two); err != nil || same != two {
			t.Errorf("login %v, error %v", same, err)
		}
	}
	if n := kept.Read.Load(); n != 3 {
		t.Errorf("%d reads, want 3", n)
	}
	from.pause = 0
	kept.Rotate("master", "three")
	if three, err := from.Renew(t.Context(), two); err != nil || three.Password != "three" {
		t.Errorf("after the pause: error %v", err)
	}
}

func TestASecretThatCannotBeHad(t *testing.T) {
	t.Parallel()
	for name, spoil := range map[string]func(*fakesecrets.Secret){
		"refused": func(s *fakesecrets.Secret) { s.Breaks(fakesecrets.Refuses("AccessDeniedException")) },
		"hangs up": func(s *fakesecrets.Secret) {
			s.Breaks(func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) })
		},
		"silent": func(s *fakesecrets.Secret) {
			s.Breaks(func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() })
		},
		"no JSON":      func(s *fakesecrets.Secret) { s.Set("geheim") },
		"no password":  func(s *fakesecrets.Secret) { s.Set(`{"username":"geheim"}`) },
		"nobody":       func(s *fakesecrets.Secret) { s.Set(`{"password":"geheim"}`) },
		"another kind": func(s *fakesecrets.Secret) { s.Set(`{"username":"u","password":["geheim"]}`) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			kept := manager.NewSecret(t, "master", "geheim")
			spoil(kept)
			from := FromSecret(kept.ARN, "")
			from.patience = 300 * time.Millisecond
			if name != "silent" {
				from.patience = time.Minute
			}
			_, err := from.Login(t.Context())
			if !errors.Is(err, session.ErrUnavailable) || strings.Contains(err.Error(), "geheim") {
				t.Errorf("error %v", err)
			}
			kept.Breaks(nil)
			kept.Set(`{"username":"u","password":"p","engine":"postgres","port":5432}`)
			if got, err := from.Login(t.Context()); err != nil || got != (store.Login{User: "u", Password: "p"}) {
				t.Errorf("once it is mended: %v, error %v", got, err)
			}
		})
	}
}

func TestWhoHasNoMoreTimeLeaves(t *testing.T) {
	t.Parallel()
	kept := manager.NewSecret(t, "master", "one")
	asked, answer := make(chan struct{}), make(chan struct{})
	kept.Breaks(func(w http.ResponseWriter, _ *http.Request) {
		close(asked)
		<-answer
		fmt.Fprint(w, `{"SecretString":"{\"username\":\"u\",\"password\":\"p\"}"}`)
	})
	from := FromSecret(kept.ARN, "")
	impatient, leave := context.WithCancel(t.Context())
	left := make(chan error, 1)
	go func() {
		_, err := from.Login(impatient)
		left <- err
	}()
	<-asked
	patient := make(chan store.Login, 1)
	go func() {
		got, _ := from.Login(t.Context())
		patient <- got
	}()
	leave()
	if err := <-left; !errors.Is(err, session.ErrUnavailable) || !errors.Is(err, context.Canceled) {
		t.Errorf("error %v", err)
	}
	close(answer)
	if got := <-patient; got.User != "u" || kept.Read.Load() != 1 {
		t.Errorf("login %v after %d reads", got, kept.Read.Load())
	}
}

func TestTheUserMayBeOutsideTheSecret(t *testing.T) {
	t.Parallel()
	kept := manager.NewSecret(t, "", "one")
	kept.Set(`{"password":"p"}`)
	if got, err := FromSecret(kept.ARN, "app").Login(t.Context()); err != nil || got.User != "app" {
		t.Errorf("login %v, error %v", got, err)
	}
}

func TestARNs(t *testing.T) {
	t.Parallel()
	for arn, fine := range map[string]bool{
		"arn:aws:secretsmanager:eu-central-1:111122223333:secret:rds!db-1b2c-AbCdEf":   true,
		"arn:aws-us-gov:secretsmanager:us-gov-west-1:111122223333:secret:a/b_c-AbCdEf": true,
		"arn:aws:kms:eu-central-1:111122223333:key/x":                                  false,
		"arn:aws:secretsmanager:eu-central-1:111122223333:secret:":                     false,
		"arn:aws:secretsmanager:eu-central-1:1:secret:x":                               false,
		"name": false, "": false,
	} {
		if err := CheckARN(arn); (err == nil) != fine {
			t.Errorf("%q: %v", arn, err)
		}
	}
}

// TestARotationOnARealServer: the password changes at the server, and then in the
// secret. Nothing that is connected notices, and what connects finds its way.
func TestARotationOnARealServer(t *testing.T) {
	t.Parallel()
	admin, at, role := roleOn(t, "one")
	kept := manager.NewSecret(t, role, "one")
	from := FromSecret(kept.ARN, "")
	from.pause = 0
	s := opened(t, at, store.Options{MaxOpen: 2, Credentials: from})
	running, err := s.DB().BeginTx(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer running.Rollback()

	if _, err := admin.DB().ExecContext(t.Context(), `ALTER ROLE `+role+` PASSWORD 'two'`); err != nil {
		t.Fatal(err)
	}
	if err := s.Ping(t.Context()); !errors.Is(err, session.ErrUnavailable) {
		t.Errorf("between the server and the secret: %v", err)
	}
	kept.Rotate(role, "two")
	if err := s.Ping(t.Context()); err != nil {
		t.Errorf("after the rotation: %v", err)
	}
	if _, err := running.ExecContext(t.Context(), `SELECT 1`); err != nil {
		t.Errorf("a connection that was there: %v", err)
	}
	if n := kept.Read.Load(); n != 3 {
		t.Errorf("%d reads, want 3: the first, the one in between, the last", n)
	}
}

// roleOn makes a role of this test, on a database of its own.
func roleOn(t *testing.T, password string) (admin *store.Store, at, role string) {
	t.Helper()
	master := pgtest.New(t, nil)
	u, err := url.Parse(master)
	if err != nil {
		t.Fatal(err)
	}
	role = "login_" + strings.TrimPrefix(u.Path, "/wafleet_test_")
	admin = opened(t, master, store.Options{MaxOpen: 2})
	if _, err := admin.DB().ExecContext(t.Context(), `CREATE ROLE `+role+` LOGIN PASSWORD '`+password+`'`); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if _, err := admin.DB().ExecContext(context.WithoutCancel(t.Context()), `DROP ROLE `+role); err != nil {
			t.Error(err)
		}
	})
	u.User = nil
	return admin, u.String(), role
}

func opened(t *testing.T, at string, o store.Options) *store.Store {
	t.Helper()
	s, err := store.Open(at, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}
