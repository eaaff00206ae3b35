// Package cloud is how every program finds AWS: region, credentials and
// endpoints, from the environment that Lambda and ECS give it.
//
// It owns the way to AWS and knows no service. The clients are their users':
// shared/secret has that of KMS, for example.
//
// # Two builds
//
// With the tag lambda.norpc, which the functions' releases have, it looks where
// Lambda and ECS put credentials, and nowhere else: the environment's keys, or
// the container's endpoint (lean.go). Without the tag it is the SDK's whole chain:
// profiles, SSO, processes and instance metadata too, as an operator's machine has
// them (chain.go). The chain brings the clients of four more services along, which
// is two MB of a program that Lambda reads at every cold start.
//
// Both obey the same variables: AWS_REGION, AWS_DEFAULT_REGION, AWS_ENDPOINT_URL,
// AWS_ENDPOINT_URL_<SERVICE>, AWS_IGNORE_CONFIGURED_ENDPOINT_URLS,
// AWS_USE_FIPS_ENDPOINT, AWS_USE_DUALSTACK_ENDPOINT, AWS_MAX_ATTEMPTS and
// AWS_RETRY_MODE. A call is tried three times where AWS_MAX_ATTEMPTS does not say
// otherwise; how long it may take in all is its caller's to say.
package cloud

import (
	"context"
	"io"
	"net/http"

	"github.com/aws/aws-sdk-go-v2/aws"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
)

// Load looks region, credentials and endpoints up. region may be empty: then it
// is the environment's. It asks nobody yet: credentials are fetched at the first
// call that needs them, and again before they expire.
func Load(ctx context.Context, region string) (aws.Config, error) {
	settings, err := load(ctx, region)
	if err != nil {
		return settings, err
	}
	if settings.HTTPClient == nil { // each service would make its own
		settings.HTTPClient = awshttp.NewBuildableClient()
	}
	settings.HTTPClient = bodyReader{settings.HTTPClient}
	return settings, nil
}

// bodyReader hides that the SDK's request bodies can write themselves. The SDK
// closes a body as soon as there is an answer, and a closed one that is asked to
// write itself says EOF, an error; read, it says EOF, its end. net/http looks
// for more after the last byte, and where it gets an error closes the connection
// that the answer is read from.
type bodyReader struct{ next aws.HTTPClient }

func (b bodyReader) Do(r *http.Request) (*http.Response, error) {
	if r.Body != nil && r.Body != http.NoBody {
		r.Body = struct{ io.ReadCloser }{r.Body}
	}
	return b.next.Do(r)
}
