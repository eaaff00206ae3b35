package login

import (
	"context"
	"encoding/json"
	"errors"
	"regexp"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/secretsmanager"
	"golang.org/x/sync/singleflight"

	"github.com/wafleet/wafleet/shared/cloud"
	"github.com/wafleet/wafleet/shared/store"
)

const (
	// secretTimeout bounds one read, the SDK's own retries and the search for
	// credentials included.
	secretTimeout = 5 * time.Second
	// renewPause is how long nobody reads again after a read that found nothing
	// new: a refused login is no reason to flood Secrets Manager.
	renewPause = time.Second
)

// secretARN follows the AWS documentation: partition, region, account, name.
var secretARN = regexp.MustCompile(`^arn:aws[a-z-]*:secretsmanager:([a-z0-9-]+):[0-9]{12}:secret:[A-Za-z0-9/_+=.@!-]{1,520}$`)

// CheckARN reports whether a text can be the ARN of a secret.
func CheckARN(arn string) error {
	if !secretARN.MatchString(arn) {
		return errors.New("must be the ARN of a secret, such as arn:aws:secretsmanager:eu-central-1:111122223333:secret:name-AbCdEf")
	}
	return nil
}

// Secret is the login in a secret of AWS Secrets Manager: a JSON object with
// username and password, as RDS manages it. Make it with [FromSecret]; it is safe
// for concurrent use.
type Secret struct {
	arn      string
	user     string
	patience time.Duration
	pause    time.Duration
	reads    singleflight.Group

	mu        sync.Mutex // guards what follows; not held across a call
	client    reader     // nil before the first read
	have      store.Login
	known     bool      // have is set
	unchanged time.Time // when a renewal last found nothing new
}

// reader is the client of Secrets Manager, of which one call is used.
type reader interface {
	GetSecretValue(context.Context, *secretsmanager.GetSecretValueInput, ...func(*secretsmanager.Options)) (*secretsmanager.GetSecretValueOutput, error)
}

// FromSecret reads nothing yet. user is who logs in where the secret does not
// say. The ARN has been checked.
func FromSecret(arn, user string) *Secret {
	return &Secret{arn: arn, user: user, patience: secretTimeout, pause: renewPause}
}

// Login implements store.Credentials.
func (s *Secret) Login(ctx context.Context) (store.Login, error) {
	s.mu.Lock()
	have, known := s.have, s.known
	s.mu.Unlock()
	if known {
		return have, nil
	}
	return s.read(ctx)
}

// Renew implements store.Credentials.
func (s *Secret) Renew(ctx context.Context, refused store.Login) (store.Login, error) {
	s.mu.Lock()
	have, rested := s.have, time.Since(s.unchanged) >= s.pause
	s.mu.Unlock()
	if have != refused || !rested { // somebody else was faster
		return have, nil
	}
	next, err := s.read(ctx)
	if err == nil && next == refused {
		s.mu.Lock()
		s.unchanged = time.Now()
		s.mu.Unlock()
	}
	return next, err
}

// read reads once for all who come meanwhile. Who has no more time leaves; the
// read goes on for the others.
func (s *Secret) read(ctx context.Context) (store.Login, error) {
	done := s.reads.DoChan("", func() (any, error) {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), s.patience)
		defer cancel()
		found, err := s.fetch(ctx)
		if err != nil {
			return found, unavailable{"read DATABASE_SECRET", err}
		}
		s.mu.Lock()
		defer s.mu.Unlock()
		s.have, s.known = found, true
		return found, nil
	})
	select {
	case result := <-done:
		return result.Val.(store.Login), result.Err
	case <-ctx.Done():
		return store.Login{}, unavailable{"wait for DATABASE_SECRET", ctx.Err()}
	}
}

func (s *Secret) fetch(ctx context.Context) (store.Login, error) {
	client, err := s.reader(ctx)
	if err != nil {
		return store.Login{}, err
	}
	out, err := client.GetSecretValue(ctx, &secretsmanager.GetSecretValueInput{SecretId: &s.arn})
	if err != nil {
		return store.Login{}, err
	}
	var found struct{ Username, Password string }
	if out.SecretString == nil || json.Unmarshal([]byte(*out.SecretString), &found) != nil {
		return store.Login{}, errNoLogin // the decoder's text may repeat some of it
	}
	if found.Username == "" {
		found.Username = s.user
	}
	if found.Username == "" || found.Password == "" {
		return store.Login{}, errNoLogin
	}
	return store.Login{User: found.Username, Password: found.Password}, nil
}

var errNoLogin = errors.New("the secret is no JSON object with username and password")

// reader makes the client at the first read, and keeps it.
func (s *Secret) reader(ctx context.Context) (reader, error) {
	s.mu.Lock()
	made := s.client
	s.mu.Unlock()
	if made != nil {
		return made, nil
	}
	settings, err := cloud.Load(ctx, secretARN.FindStringSubmatch(s.arn)[1])
	if err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.client = secretsmanager.NewFromConfig(settings)
	return s.client, nil
}
