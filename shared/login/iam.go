package login

import (
	"context"
	"errors"
	"net"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/feature/rds/auth"

	"github.com/wafleet/wafleet/shared/cloud"
	"github.com/wafleet/wafleet/shared/store"
)

// credentialsTimeout bounds the search for the credentials that sign.
const credentialsTimeout = 5 * time.Second

// IAM makes a token of RDS IAM authentication for every connection. Make it with
// [FromIAM]; it is safe for concurrent use.
type IAM struct {
	endpoint string // host:port, which the token is for
	user     string

	mu       sync.Mutex // guards settings; not held across a call
	settings *aws.Config
}

// FromIAM asks nobody yet. The region is that of the environment.
func FromIAM(host, port, user string) *IAM {
	return &IAM{endpoint: net.JoinHostPort(host, port), user: user}
}

var errNoRegion = errors.New("AWS_REGION is missing: DATABASE_IAM_AUTH needs the region of the database")

// Login implements store.Credentials.
func (i *IAM) Login(ctx context.Context) (store.Login, error) {
	ctx, cancel := context.WithTimeout(ctx, credentialsTimeout)
	defer cancel()
	settings, err := i.load(ctx)
	if err != nil {
		return store.Login{}, unavailable{"find the AWS credentials for the database", err}
	}
	if settings.Region == "" {
		return store.Login{}, errNoRegion
	}
	token, err := auth.BuildAuthToken(ctx, i.endpoint, settings.Region, i.user, settings.Credentials)
	if err != nil {
		return store.Login{}, unavailable{"sign the login of the database", err}
	}
	return store.Login{User: i.user, Password: token}, nil
}

// Renew implements store.Credentials. The token that was refused was new.
func (i *IAM) Renew(_ context.Context, refused store.Login) (store.Login, error) { return refused, nil }

func (i *IAM) load(ctx context.Context) (*aws.Config, error) {
	i.mu.Lock()
	loaded := i.settings
	i.mu.Unlock()
	if loaded != nil {
		return loaded, nil
	}
	settings, err := cloud.Load(ctx, "")
	if err != nil {
		return nil, err
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	i.settings = &settings
	return i.settings, nil
}
