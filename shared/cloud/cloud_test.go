package cloud

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/secretsmanager"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) {
	for _, name := range []string{"AWS_PROFILE", "HTTP_PROXY", "http_proxy"} {
		os.Unsetenv(name)
	}
	goleak.VerifyTestMain(m)
}

// The environment belongs to the process, so no test here is parallel.

// far is AWS: it takes every call, and has the credentials of a container.
type far struct {
	*httptest.Server
	broken bool

	mu      sync.Mutex // guards what follows
	signed  []string   // Authorization of each call to a service
	fetched []string   // Authorization of each call for credentials
}

func newFar(t *testing.T) *far {
	t.Helper()
	f := &far{}
	f.Server = httptest.NewServer(f)
	t.Cleanup(f.Close)
	for _, name := range []string{
		"AWS_REGION", "AWS_DEFAULT_REGION", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_ENDPOINT_URL",
		"AWS_CONTAINER_CREDENTIALS_FULL_URI", "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI", "AWS_CONTAINER_AUTHORIZATION_TOKEN",
		"AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE", "AWS_IGNORE_CONFIGURED_ENDPOINT_URLS", "AWS_RETRY_MODE",
	} {
		unset(t, name)
	}
	for name, value := range map[string]string{
		"AWS_EC2_METADATA_DISABLED": "true", "AWS_CONFIG_FILE": os.DevNull, "AWS_SHARED_CREDENTIALS_FILE": os.DevNull,
		"AWS_ENDPOINT_URL_SECRETS_MANAGER": f.URL, "AWS_MAX_ATTEMPTS": "1",
	} {
		t.Setenv(name, value)
	}
	return f
}

// unset takes a variable away until the test ends.
func unset(t *testing.T, name string) {
	t.Helper()
	t.Setenv(name, "")
	os.Unsetenv(name)
}

func (f *far) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	f.mu.Lock()
	defer f.mu.Unlock()
	authorization := r.Header.Get("Authorization")
	if r.URL.Path == "/creds" {
		f.fetched = append(f.fetched, authorization)
		_ = json.NewEncoder(w).Encode(map[string]any{
			"AccessKeyId": "AKIDCONTAINER", "SecretAccessKey": "s", "Token": "t", "Expiration": time.Now().Add(time.Hour).UTC().Format(time.RFC3339),
		})
		return
	}
	f.signed = append(f.signed, authorization)
	w.Header().Set("Content-Type", "application/x-amz-json-1.1")
	if f.broken {
		w.WriteHeader(http.StatusInternalServerError)
		return
	}
	fmt.Fprint(w, `{"SecretString":"fine"}`)
}

func (f *far) calls() (signed, fetched []string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.signed, f.fetched
}

// both runs a test with what a Lambda has and with what an operator has.
func both(t *testing.T, do func(t *testing.T, ask func(region string) error)) {
	t.Helper()
	for name, look := range map[string]func(context.Context, string) (aws.Config, error){"lean": lean, "build": load} {
		t.Run(name, func(t *testing.T) {
			do(t, func(region string) error {
				settings, err := look(t.Context(), region)
				if err != nil {
					return err
				}
				settings.HTTPClient = bodyReader{settings.HTTPClient}
				client := secretsmanager.NewFromConfig(settings)
				for range 2 {
					if _, err := client.GetSecretValue(t.Context(), &secretsmanager.GetSecretValueInput{SecretId: aws.String("x")}); err != nil {
						return err
					}
				}
				return nil
			})
		})
	}
}

func TestKeysAndRegionOfTheEnvironment(t *testing.T) {
	both(t, func(t *testing.T, ask func(string) error) {
		for _, one := range []struct{ set, region, want string }{
			{"AWS_REGION", "", "eu-north-1"}, {"AWS_DEFAULT_REGION", "", "eu-north-1"}, {"AWS_REGION", "us-west-2", "us-west-2"},
		} {
			f := newFar(t)
			t.Setenv("AWS_ACCESS_KEY_ID", "AKIDEXAMPLE")
			t.Setenv("AWS_SECRET_ACCESS_KEY", "example")
			t.Setenv(one.set, "eu-north-1")
			if err := ask(one.region); err != nil {
				t.Fatal(err)
			}
			unset(t, one.set)
			signed, _ := f.calls()
			if len(signed) != 2 || !strings.Contains(signed[0], "AKIDEXAMPLE/") || !strings.Contains(signed[0], "/"+one.want+"/secretsmanager/") {
				t.Errorf("%+v: %q", one, signed)
			}
		}
	})
}

func TestTheEndpointOfAServiceComesBeforeThatOfAll(t *testing.T) {
	both(t, func(t *testing.T, ask func(string) error) {
		f := newFar(t)
		t.Setenv("AWS_ACCESS_KEY_ID", "AKIDEXAMPLE")
		t.Setenv("AWS_SECRET_ACCESS_KEY", "example")
		t.Setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")
		if err := ask("eu-north-1"); err != nil {
			t.Errorf("its own endpoint: %v", err)
		}
		unset(t, "AWS_ENDPOINT_URL_SECRETS_MANAGER")
		t.Setenv("AWS_ENDPOINT_URL", f.URL)
		if err := ask("eu-north-1"); err != nil {
			t.Errorf("the endpoint of all: %v", err)
		}
		if signed, _ := f.calls(); len(signed) != 4 {
			t.Errorf("%d calls arrived", len(signed))
		}
	})
}

func TestACallIsTriedSoOftenAndNoMore(t *testing.T) {
	both(t, func(t *testing.T, ask func(string) error) {
		f := newFar(t)
		f.broken = true
		t.Setenv("AWS_ACCESS_KEY_ID", "AKIDEXAMPLE")
		t.Setenv("AWS_SECRET_ACCESS_KEY", "example")
		t.Setenv("AWS_MAX_ATTEMPTS", "2")
		if err := ask("eu-north-1"); err == nil {
			t.Error("a broken service answered")
		}
		if signed, _ := f.calls(); len(signed) != 2 {
			t.Errorf("%d attempts, want 2", len(signed))
		}
	})
}

func TestTheCredentialsOfAContainer(t *testing.T) {
	both(t, func(t *testing.T, ask func(string) error) {
		f := newFar(t)
		token := filepath.Join(t.TempDir(), "token")
		if err := os.WriteFile(token, []byte("from-a-file"), 0o600); err != nil {
			t.Fatal(err)
		}
		t.Setenv("AWS_CONTAINER_CREDENTIALS_FULL_URI", f.URL+"/creds")
		t.Setenv("AWS_CONTAINER_AUTHORIZATION_TOKEN", "from-a-variable")
		if err := ask("eu-north-1"); err != nil {
			t.Fatal(err)
		}
		t.Setenv("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE", token)
		if err := ask("eu-north-1"); err != nil {
			t.Fatal(err)
		}
		signed, fetched := f.calls()
		if len(signed) != 4 || !strings.Contains(signed[0], "AKIDCONTAINER/") {
			t.Errorf("calls %q", signed)
		}
		// Kept for the second call of each.
		if strings.Join(fetched, " ") != "from-a-variable from-a-file" {
			t.Errorf("credentials were fetched with %q", fetched)
		}
	})
}

func TestATokenGoesToNoOtherHost(t *testing.T) {
	both(t, func(t *testing.T, ask func(string) error) {
		newFar(t)
		t.Setenv("AWS_CONTAINER_AUTHORIZATION_TOKEN", "hidden")
		t.Setenv("AWS_CONTAINER_CREDENTIALS_FULL_URI", "http://192.0.2.1/creds")
		if err := ask("eu-north-1"); err == nil || strings.Contains(err.Error(), "hidden") {
			t.Errorf("error %v", err)
		}
	})
}

func TestWithoutCredentials(t *testing.T) {
	both(t, func(t *testing.T, ask func(string) error) {
		f := newFar(t)
		if err := ask("eu-north-1"); err == nil {
			t.Error("it called without credentials")
		}
		if signed, _ := f.calls(); len(signed) != 0 {
			t.Errorf("calls %q", signed)
		}
	})
}

func TestMistakesOfTheLeanEnvironment(t *testing.T) {
	newFar(t)
	t.Setenv("AWS_MAX_ATTEMPTS", "hidden")
	t.Setenv("AWS_CONTAINER_CREDENTIALS_FULL_URI", "hidden")
	_, err := lean(t.Context(), "")
	if err == nil || strings.Contains(err.Error(), "hidden") {
		t.Fatalf("error %v", err)
	}
	for _, name := range []string{"AWS_MAX_ATTEMPTS must", "AWS_CONTAINER_CREDENTIALS_FULL_URI must"} {
		if !strings.Contains(err.Error(), name) {
			t.Errorf("%q is not in %v", name, err)
		}
	}
}

func TestHostsOfContainers(t *testing.T) {
	t.Parallel()
	for address, fine := range map[string]bool{
		"http://169.254.170.2/x": true, "http://169.254.170.23/v1/credentials": true, "http://[fd00:ec2::23]/v1": true,
		"http://localhost:1/x": true, "http://127.0.0.1:1": true, "http://[::1]:1/": true, "https://anywhere.test/x": true,
		"http://anywhere.test/x": false, "http://10.0.0.1/x": false, "ftp://localhost/x": false, "": false, "http:///x": false, "%": false,
	} {
		if err := checkContainerURL(address); (err == nil) != fine {
			t.Errorf("%q: %v", address, err)
		}
	}
}
