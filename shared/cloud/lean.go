package cloud

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/credentials/endpointcreds"
)

// lean looks where Lambda and ECS put things. All mistakes are reported together,
// by name.
func lean(_ context.Context, region string) (aws.Config, error) {
	var problems []error
	settings := aws.Config{
		Region:        firstOf(region, os.Getenv("AWS_REGION"), os.Getenv("AWS_DEFAULT_REGION")),
		HTTPClient:    awshttp.NewBuildableClient(),
		ConfigSources: []any{environment{}},
	}
	var err error
	if settings.Credentials, err = provider(); err != nil {
		problems = append(problems, err)
	}
	if settings.RetryMode, settings.RetryMaxAttempts, err = retries(); err != nil {
		problems = append(problems, err)
	}
	if endpoint := os.Getenv("AWS_ENDPOINT_URL"); endpoint != "" && !isTrue("AWS_IGNORE_CONFIGURED_ENDPOINT_URLS") {
		settings.BaseEndpoint = &endpoint
	}
	return settings, errors.Join(problems...)
}

func firstOf(values ...string) string {
	for _, value := range values {
		if value != "" {
			return value
		}
	}
	return ""
}

func retries() (mode aws.RetryMode, attempts int, err error) {
	if text := os.Getenv("AWS_RETRY_MODE"); text != "" {
		if mode, err = aws.ParseRetryMode(text); err != nil {
			return mode, 0, errors.New("AWS_RETRY_MODE must be standard or adaptive")
		}
	}
	if text := os.Getenv("AWS_MAX_ATTEMPTS"); text != "" {
		if attempts, err = strconv.Atoi(text); err != nil || attempts < 1 {
			return mode, 0, errors.New("AWS_MAX_ATTEMPTS must be a number of at least 1")
		}
	}
	return mode, attempts, nil
}

// environment is what the clients of services ask for more.
type environment struct{}

// GetServiceBaseEndpoint finds AWS_ENDPOINT_URL_<SERVICE>.
func (environment) GetServiceBaseEndpoint(_ context.Context, service string) (string, bool, error) {
	endpoint := os.Getenv("AWS_ENDPOINT_URL_" + strings.ReplaceAll(strings.ToUpper(service), " ", "_"))
	return endpoint, endpoint != "", nil
}

// GetIgnoreConfiguredEndpoints says whether the one before counts.
func (environment) GetIgnoreConfiguredEndpoints(context.Context) (ignore, found bool, err error) {
	ignore = isTrue("AWS_IGNORE_CONFIGURED_ENDPOINT_URLS")
	return ignore, ignore, nil
}

// GetUseFIPSEndpoint reads AWS_USE_FIPS_ENDPOINT.
func (environment) GetUseFIPSEndpoint(context.Context) (aws.FIPSEndpointState, bool, error) {
	if !isTrue("AWS_USE_FIPS_ENDPOINT") {
		return aws.FIPSEndpointStateUnset, false, nil
	}
	return aws.FIPSEndpointStateEnabled, true, nil
}

// GetUseDualStackEndpoint reads AWS_USE_DUALSTACK_ENDPOINT.
func (environment) GetUseDualStackEndpoint(context.Context) (aws.DualStackEndpointState, bool, error) {
	if !isTrue("AWS_USE_DUALSTACK_ENDPOINT") {
		return aws.DualStackEndpointStateUnset, false, nil
	}
	return aws.DualStackEndpointStateEnabled, true, nil
}

func isTrue(name string) bool { return strings.EqualFold(os.Getenv(name), "true") }

// containerHost is where ECS serves the credentials of a task, as its
// documentation says.
const containerHost = "http://169.254.170.2"

// expiryWindow is how long before their end credentials are fetched anew.
const expiryWindow = 5 * time.Minute

var errNoCredentials = errors.New("the environment has no AWS credentials: neither AWS_ACCESS_KEY_ID with AWS_SECRET_ACCESS_KEY nor AWS_CONTAINER_CREDENTIALS_RELATIVE_URI or _FULL_URI is set")

// provider looks where Lambda (keys) and ECS (an endpoint) put credentials. That
// there are none is an error of the first call, as in the SDK's own chain.
func provider() (aws.CredentialsProvider, error) {
	key, secret := os.Getenv("AWS_ACCESS_KEY_ID"), os.Getenv("AWS_SECRET_ACCESS_KEY")
	relative, full := os.Getenv("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI"), os.Getenv("AWS_CONTAINER_CREDENTIALS_FULL_URI")
	switch {
	case key != "" && secret != "":
		return credentials.NewStaticCredentialsProvider(key, secret, os.Getenv("AWS_SESSION_TOKEN")), nil
	case relative != "":
		return endpoint(containerHost + relative), nil
	case full != "":
		if err := checkContainerURL(full); err != nil {
			return nil, fmt.Errorf("AWS_CONTAINER_CREDENTIALS_FULL_URI %w", err)
		}
		return endpoint(full), nil
	}
	return aws.CredentialsProviderFunc(func(context.Context) (aws.Credentials, error) {
		return aws.Credentials{}, errNoCredentials
	}), nil
}

func endpoint(address string) aws.CredentialsProvider {
	fetched := endpointcreds.New(address, func(o *endpointcreds.Options) {
		o.AuthorizationToken = os.Getenv("AWS_CONTAINER_AUTHORIZATION_TOKEN")
		if file := os.Getenv("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE"); file != "" {
			o.AuthorizationTokenProvider = endpointcreds.TokenProviderFunc(func() (string, error) {
				token, err := os.ReadFile(file) // #nosec G304 G703 -- the file that its operator names; it changes while we run
				return string(token), err
			})
		}
	})
	return aws.NewCredentialsCache(fetched, func(o *aws.CredentialsCacheOptions) { o.ExpiryWindow = expiryWindow })
}

// containerIPs serve credentials of containers without TLS: ECS, and EKS over
// IPv4 and IPv6.
var containerIPs = []string{"169.254.170.2", "169.254.170.23", "fd00:ec2::23"}

// checkContainerURL is the SDK's own rule: the authorization token goes nowhere
// else in clear.
func checkContainerURL(address string) error {
	u, err := url.Parse(address)
	if err != nil || u.Hostname() == "" || (u.Scheme != "http" && u.Scheme != "https") {
		return errors.New("must be a URL such as http://169.254.170.23/v1/credentials")
	}
	if u.Scheme == "https" || u.Hostname() == "localhost" {
		return nil
	}
	ip := net.ParseIP(u.Hostname())
	if ip != nil && ip.IsLoopback() {
		return nil
	}
	for _, known := range containerIPs {
		if ip.Equal(net.ParseIP(known)) {
			return nil
		}
	}
	return errors.New("must have https, or the address of this machine or of a container's agent")
}
