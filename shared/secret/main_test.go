package secret_test

import (
	"context"
	"net/http/httptest"
	"os"
	"strings"
	"testing"

	"go.uber.org/goleak"

	"github.com/wafleet/wafleet/shared/pgtest"
	"github.com/wafleet/wafleet/shared/schema"
	"github.com/wafleet/wafleet/shared/secret/fakekms"
	"github.com/wafleet/wafleet/shared/store"
)

// far is the AWS of all tests of the process: the SDK finds it in the environment.
var far = fakekms.New()

func TestMain(m *testing.M) {
	server := httptest.NewServer(far)
	for _, variable := range fakekms.Environment(server.URL) {
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

func migrate(ctx context.Context, url string) error { return schema.Migrate(ctx, url, nil) }

// table is a fleet's database.
func table(t *testing.T) *store.Store {
	t.Helper()
	opened, err := store.Open(pgtest.New(t, migrate), store.Options{MaxOpen: 8})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { opened.Close() })
	return opened
}
