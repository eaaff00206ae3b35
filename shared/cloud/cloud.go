// Package cloud is how every program finds AWS: region, credentials and
// endpoints, from the environment that Lambda and ECS give it.
//
// It owns the way to AWS and knows no service. The clients are their users':
// shared/secret has that of KMS, for example.
package cloud

import (
	"context"
	"io"
	"net/http"

	"github.com/aws/aws-sdk-go-v2/aws"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/aws-sdk-go-v2/config"
)

// Load looks region, credentials and endpoints up. region may be empty: then it
// is the environment's.
func Load(ctx context.Context, region string) (aws.Config, error) {
	settings, err := config.LoadDefaultConfig(ctx, config.WithRegion(region))
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
